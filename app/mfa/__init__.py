"""Multi-factor authentication: time-based one-time passwords and recovery codes."""
