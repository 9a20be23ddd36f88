"""Export of all data stored about the current user."""
