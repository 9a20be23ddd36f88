"""Schemas of users, sessions and tokens."""

from collections.abc import Mapping
from typing import Any

import marshmallow
from flask import current_app
from marshmallow import fields, validates_schema
from marshmallow.validate import Length

from app.api.fields import AwareDateTime, Enum, StrictBoolean, String, TimeZone
from app.api.schemas import ResponseSchema, page_of
from app.auth.models import PersonalToken, Role, Scope, Session, User
from app.auth.passwords import MAX_LENGTH, MIN_LENGTH, find_weakness
from app.extensions import ma
from app.mail import addresses


class EmailAddress(String):
    """An email address, checked for its syntax and normalized.

    Without ``check`` it finds an existing user: invalid text is accepted, and matches none.
    ``allow_special_use`` accepts domains such as .local whatever the setting.
    """

    default_error_messages = {
        "address": "Must be an email address.",
        "special_use": "Must not be in a domain that is reserved for special use.",
    }
    has_format = True

    def __init__(
        self, *, check: bool = True, allow_special_use: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(max_length=254, strip=True, metadata={"format": "email"}, **kwargs)
        self.check, self.allow_special_use = check, allow_special_use

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        is_special_use_allowed = (
            not self.check or self.allow_special_use or current_app.config["EMAIL_SPECIAL_USE"]
        )
        try:
            address = addresses.parse(text, allow_special_use=is_special_use_allowed)
        except addresses.SpecialUseDomain:
            raise self.make_error("special_use") from None
        except ValueError:
            if self.check:
                raise self.make_error("address") from None
            return text
        return address.normalized


def username(**kwargs: Any) -> String:
    """Return the field of a username."""
    return String(
        min_length=3,
        max_length=80,
        strip=True,
        pattern=r"[A-Za-z0-9_.-]+",
        pattern_name="letters, digits, dots, hyphens and underscores",
        **kwargs,
    )


def password() -> String:
    """Return the field of a current password, which need not satisfy today's rules."""
    metadata = {"format": "password"}
    return String(
        min_length=1, max_length=MAX_LENGTH, required=True, load_only=True, metadata=metadata
    )


class NewPassword(String):
    """A new password. The service checks that it is not the user's own name or address too."""

    def __init__(self) -> None:
        metadata = {"format": "password", "minLength": MIN_LENGTH}
        super().__init__(max_length=MAX_LENGTH, required=True, load_only=True, metadata=metadata)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if weakness := find_weakness(text):
            raise marshmallow.ValidationError(weakness)
        return text


class RegisterSchema(ma.Schema):
    class Meta:
        example = {
            "username": "ada",
            "email": "ada@example.com",
            "password": "correct horse battery",
            "time_zone": "Europe/Zurich",
        }

    username = username(required=True)
    email = EmailAddress(required=True)
    password = NewPassword()
    time_zone = TimeZone(load_default="UTC")


class CreateUserSchema(RegisterSchema):
    """A new user of an operator's command, at any domain."""

    email = EmailAddress(required=True, allow_special_use=True)


class LoginSchema(ma.Schema):
    class Meta:
        example = {"username": "ada", "password": "correct horse battery"}
        rule = {"minProperties": 2, "maxProperties": 2}

    username = String(min_length=1, max_length=80, strip=True)
    email = EmailAddress(check=False)
    password = password()

    @validates_schema
    def _require_one_identifier(self, data: Mapping[str, Any], **_: Any) -> None:
        if ("username" in data) == ("email" in data):
            raise marshmallow.ValidationError("Requires either username or email.", "username")


class ReauthenticateSchema(ma.Schema):
    class Meta:
        example = {"password": "correct horse battery"}

    password = password()


class UpdatePasswordSchema(ma.Schema):
    class Meta:
        example = {
            "current_password": "correct horse battery",
            "new_password": "staple in the rain",
        }

    current_password = password()
    new_password = NewPassword()


class UpdateAccountSchema(ma.Schema):
    class Meta:
        example = {"time_zone": "Asia/Tokyo"}

    username = username()
    email = EmailAddress()
    time_zone = TimeZone()
    notify_on_create = StrictBoolean()
    notify_when_due = StrictBoolean()


class CreateTokenSchema(ma.Schema):
    class Meta:
        example = {
            "name": "Backup script",
            "scopes": ["tasks:read"],
            "expires_at": "2027-11-21T00:00:00Z",
        }

    name = String(min_length=1, max_length=100, strip=True, visible=True, required=True)
    scopes = fields.List(Enum(Scope), required=True, validate=Length(min=1, max=len(Scope)))
    expires_at = AwareDateTime(load_default=None, allow_none=True)


class UserSchema(ResponseSchema):
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
            "notices_active": False,
            "created_at": "2026-11-21T09:00:00.000000Z",
            "updated_at": "2026-11-21T09:00:00.000000Z",
        }

    id = ma.auto_field()
    username = ma.auto_field()
    email = ma.auto_field()
    email_verified = ma.auto_field()
    role = Enum(Role)
    time_zone = ma.auto_field()
    notify_on_create = ma.auto_field()
    notify_when_due = ma.auto_field()
    notices_active = fields.Boolean(
        metadata={"description": "Notices are sent to a verified email address only."}
    )
    created_at = AwareDateTime()
    updated_at = AwareDateTime()


class SessionSchema(ResponseSchema):
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

    id = ma.auto_field()
    created_at = AwareDateTime()
    last_used_at = AwareDateTime()
    expires_at = AwareDateTime()
    ip_address = ma.auto_field()
    user_agent = ma.auto_field()
    current = fields.Boolean()


SessionPageSchema = page_of(SessionSchema)


class PersonalTokenSchema(ResponseSchema):
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

    id = ma.auto_field()
    name = ma.auto_field()
    scopes = fields.List(Enum(Scope))
    created_at = AwareDateTime()
    expires_at = AwareDateTime(allow_none=True)
    last_used_at = AwareDateTime(allow_none=True)


PersonalTokenPageSchema = page_of(PersonalTokenSchema)


class NewTokenSchema(PersonalTokenSchema):
    """A personal access token and its text, which only this response contains."""

    class Meta:
        model = PersonalToken
        example = {"token": "tap_9tKx0vYbN2mQ4wRrS7uA1cEfGhJkLpZdXoVyTnBi3M8"}

    token = fields.String()


class AccessTokenSchema(ma.Schema):
    class Meta:
        example = {
            "access_token": "eyJhbGciOiJIUzI1NiJ9...",
            "token_type": "Bearer",
            "expires_in": 900,
        }

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class TokenPairSchema(AccessTokenSchema):
    class Meta:
        example = {"refresh_token": "eyJhbGciOiJIUzI1NiJ9...", "refresh_expires_in": 2592000}

    refresh_token = fields.String(required=True)
    refresh_expires_in = fields.Integer(required=True)


class LoginResponseSchema(TokenPairSchema):
    user = fields.Nested(UserSchema, required=True)
