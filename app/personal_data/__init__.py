"""All that is kept of an account, for whom it is of."""
