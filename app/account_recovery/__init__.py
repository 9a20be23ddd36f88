"""Password reset and email verification."""
