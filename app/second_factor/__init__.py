"""Second factors: one-time codes of an authenticator, and the codes that stand in for it."""
