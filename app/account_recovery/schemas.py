"""Schemas of password reset and email verification."""

from app.api.fields import String
from app.auth.schemas import EmailAddress, NewPassword
from app.extensions import ma


class ForgotPasswordSchema(ma.Schema):
    class Meta:
        example = {"email": "ada@example.com"}

    email = EmailAddress(required=True)


class VerifyEmailSchema(ma.Schema):
    class Meta:
        example = {"token": "9tKx0vYbN2mQ4wRrS7uA1cEfGhJkLpZdXoVyTnBi3M8"}

    token = String(min_length=1, max_length=100, required=True, load_only=True)


class ResetPasswordSchema(VerifyEmailSchema):
    class Meta:
        example = {"new_password": "staple in the rain"}

    new_password = NewPassword()
