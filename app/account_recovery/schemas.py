"""Schemas of password reset and email verification."""

from app.api.fields import String
from app.auth.schemas import EmailAddress, new_password
from app.extensions import ma

TOKEN_EXAMPLE = "9tKx0vYbN2mQ4wRrS7uA1cEfGhJkLpZdXoVyTnBi3M8"  # noqa: S105  # an example


def email_token() -> String:
    """Return the field of an email token."""
    return String(min_length=1, max_length=100, required=True, load_only=True)


class ForgotPasswordSchema(ma.Schema):
    class Meta:
        example = {"email": "ada@example.com"}

    email = EmailAddress(required=True)


class ResetPasswordSchema(ma.Schema):
    class Meta:
        example = {"token": TOKEN_EXAMPLE, "new_password": "staple in the rain"}

    token = email_token()
    new_password = new_password()


class VerifyEmailSchema(ma.Schema):
    class Meta:
        example = {"token": TOKEN_EXAMPLE}

    token = email_token()
