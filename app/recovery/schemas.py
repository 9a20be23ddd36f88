"""What clients say to recover an account or to prove an address."""

from flask_marshmallow import Schema

from app.auth.schemas import EmailAddress, new_password
from app.http.fields import Text

TOKEN_EXAMPLE = "9tKx0vYbN2mQ4wRrS7uA1cEfGhJkLpZdXoVyTnBi3M8"  # noqa: S105  # nobody's


def mailed_token() -> Text:
    """A token as it was mailed."""
    return Text(least=1, most=100, required=True, load_only=True)


class ForgotSchema(Schema):
    class Meta:
        example = {"email": "ada@example.com"}

    email = EmailAddress(required=True)


class ResetSchema(Schema):
    class Meta:
        example = {"token": TOKEN_EXAMPLE, "new_password": "staple in the rain"}

    token = mailed_token()
    new_password = new_password()


class VerifySchema(Schema):
    class Meta:
        example = {"token": TOKEN_EXAMPLE}

    token = mailed_token()


FORGOT = ForgotSchema()
RESET = ResetSchema()
VERIFY = VerifySchema()
