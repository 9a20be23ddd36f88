"""What clients say and are told of accounts and sessions."""

from collections.abc import Mapping
from typing import Any

import marshmallow
from email_validator import EmailNotValidError, validate_email
from flask_marshmallow import Schema
from marshmallow import fields, validates_schema
from marshmallow.validate import Length
from marshmallow_sqlalchemy import auto_field

from app.auth.models import PersonalToken, Role, Scope, Session, User
from app.auth.passwords import LEAST, MOST
from app.http.fields import Instant, OneOf, Text, TimeZone, TrueOrFalse, Whole
from app.http.output import OutputSchema, page_schema


class EmailAddress(Text):
    """An address that mail can be sent to, as far as its text can tell."""

    default_error_messages = {"address": "Must be an email address."}
    pattern_is_a_format = True

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"format": "email"} | kwargs.pop("metadata", {})
        super().__init__(most=254, trim=True, metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            found = validate_email(text, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            return self._unreadable(text)
        return found.normalized

    def _unreadable(self, text: str) -> str:
        raise self.make_error("address")


class KnownEmailAddress(EmailAddress):
    """What may be the address of an account: any text that is none belongs to nobody."""

    def _unreadable(self, text: str) -> str:
        return text


def username(**kwargs: Any) -> Text:
    """The name of an account."""
    return Text(
        least=3,
        most=80,
        trim=True,
        pattern=r"[A-Za-z0-9_.-]+",
        pattern_name="letters, digits, dots, hyphens and underscores",
        **kwargs,
    )


def password(*, documented_least: int = 1, **kwargs: Any) -> Text:
    """A password as it is presented; what makes one good enough is the service's to say."""
    metadata = {"format": "password", "minLength": documented_least}
    return Text(least=1, most=MOST, load_only=True, metadata=metadata, **kwargs)


def new_password() -> Text:
    """A password to be; the document tells how long the service wants it."""
    return password(documented_least=LEAST, required=True)


class RegisterSchema(Schema):
    class Meta:
        example = {
            "username": "ada",
            "email": "ada@example.com",
            "password": "correct horse battery",
            "time_zone": "Europe/Zurich",
        }

    username = username(required=True)
    email = EmailAddress(required=True)
    password = new_password()
    time_zone = TimeZone(load_default="UTC")


class LoginSchema(Schema):
    class Meta:
        example = {"username": "ada", "password": "correct horse battery"}
        rule = {"minProperties": 2, "maxProperties": 2}

    username = Text(least=1, most=80, trim=True)
    email = KnownEmailAddress()
    password = password(required=True)

    @validates_schema
    def _names_one_account(self, data: Mapping[str, Any], **_: Any) -> None:
        if ("username" in data) == ("email" in data):
            raise marshmallow.ValidationError("Needs either username or email.", "username")


class ReauthenticateSchema(Schema):
    class Meta:
        example = {"password": "correct horse battery"}

    password = password(required=True)


class ChangePasswordSchema(Schema):
    class Meta:
        example = {
            "current_password": "correct horse battery",
            "new_password": "staple in the rain",
        }

    current_password = password(required=True)
    new_password = new_password()


class ChangeAccountSchema(Schema):
    class Meta:
        example = {"time_zone": "Asia/Tokyo"}

    username = username()
    email = EmailAddress()
    time_zone = TimeZone()
    notify_on_create = TrueOrFalse()
    notify_when_due = TrueOrFalse()


class CreateTokenSchema(Schema):
    class Meta:
        example = {
            "name": "Backup script",
            "scopes": ["tasks:read"],
            "expires_at": "2027-11-21T00:00:00Z",
        }

    name = Text(least=1, most=100, trim=True, required=True)
    scopes = fields.List(OneOf(Scope), required=True, validate=Length(min=1, max=len(Scope)))
    expires_at = Instant(load_default=None, allow_none=True)


class PageQuery(Schema):
    limit = Whole(least=1, most=200, load_default=50)
    cursor = fields.String(load_default=None)


class UserSchema(OutputSchema):
    class Meta:
        model = User
        example = {
            "id": 1,
            "username": "ada",
            "email": "ada@example.com",
            "email_verified": False,
            "role": "user",
            "time_zone": "Europe/Zurich",
            "notify_on_create": False,
            "notify_when_due": True,
            "created_at": "2026-11-21T09:00:00.000000Z",
            "updated_at": "2026-11-21T09:00:00.000000Z",
        }

    id = auto_field()
    username = auto_field()
    email = auto_field()
    email_verified = auto_field()
    role = OneOf(Role)
    time_zone = auto_field()
    notify_on_create = auto_field()
    notify_when_due = auto_field()
    created_at = Instant()
    updated_at = Instant()


class SessionSchema(OutputSchema):
    class Meta:
        model = Session
        example = {
            "id": "9f2c4e6a8b0d1f3a5c7e9b1d3f5a7c9e",
            "created_at": "2026-11-21T09:00:00.000000Z",
            "last_used_at": "2026-11-21T09:45:00.000000Z",
            "expires_at": "2027-02-19T09:00:00.000000Z",
            "ip_address": "192.0.2.7",
            "user_agent": "curl/8.5.0",
            "current": True,
        }

    id = auto_field()
    created_at = Instant()
    last_used_at = Instant()
    expires_at = Instant()
    ip_address = auto_field()
    user_agent = auto_field()
    current = fields.Boolean()


class PersonalTokenSchema(OutputSchema):
    class Meta:
        model = PersonalToken
        example = {
            "id": 3,
            "name": "Backup script",
            "scopes": ["tasks:read"],
            "created_at": "2026-11-21T09:00:00.000000Z",
            "expires_at": "2027-11-21T00:00:00.000000Z",
            "last_used_at": None,
        }

    id = auto_field()
    name = auto_field()
    scopes = fields.List(OneOf(Scope))
    created_at = Instant()
    expires_at = Instant(allow_none=True)
    last_used_at = Instant(allow_none=True)


class NewTokenSchema(PersonalTokenSchema):
    """A personal access token and its text, which is told this once."""

    class Meta:
        model = PersonalToken
        example = {"token": "tap_9tKx0vYbN2mQ4wRrS7uA1cEfGhJkLpZdXoVyTnBi3M8"}

    token = fields.String()


class AccessSchema(Schema):
    class Meta:
        example = {
            "access_token": "eyJhbGciOiJIUzI1NiJ9...",
            "token_type": "Bearer",
            "expires_in": 900,
        }

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class PairSchema(AccessSchema):
    class Meta:
        example = {
            "refresh_token": "eyJhbGciOiJIUzI1NiJ9...",
            "refresh_expires_in": 2592000,
        }

    refresh_token = fields.String(required=True)
    refresh_expires_in = fields.Integer(required=True)


class LoginAnswerSchema(PairSchema):
    user = fields.Nested(UserSchema, required=True)


REGISTER = RegisterSchema()
LOGIN = LoginSchema()
REAUTHENTICATE = ReauthenticateSchema()
CHANGE_PASSWORD = ChangePasswordSchema()
CHANGE_ACCOUNT = ChangeAccountSchema()
PAGE_QUERY = PageQuery()
USER = UserSchema()
SESSION = SessionSchema()
SESSION_PAGE = page_schema(SESSION)
PERSONAL_TOKEN = PersonalTokenSchema()
PERSONAL_TOKEN_PAGE = page_schema(PERSONAL_TOKEN)
CREATE_TOKEN = CreateTokenSchema()
NEW_TOKEN = NewTokenSchema()
ACCESS = AccessSchema()
PAIR = PairSchema()
LOGIN_ANSWER = LoginAnswerSchema()
