"""Models of users, sessions, tokens and second factors."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from sqlalchemy import (
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    and_,
    false,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates
from sqlalchemy.types import TypeDecorator

from app.db.base import Model
from app.db.ddl import keyset_index
from app.db.types import BigIntId, BinaryCollatedString, StringEnum
from app.mail import addresses


class Role(StrEnum):
    """The role of a user."""

    user = "user"
    admin = "admin"


class Scope(StrEnum):
    """A permission of a personal access token; a session has all of them."""

    tasks_read = "tasks:read"
    tasks_write = "tasks:write"
    projects_read = "projects:read"
    projects_write = "projects:write"
    account_read = "account:read"


ALL_SCOPES = frozenset(Scope)
UserId = Annotated[int, mapped_column(BigIntId, ForeignKey("users.id", ondelete="CASCADE"))]
TokenType = Literal["access", "refresh", "personal"]


@dataclass(frozen=True, slots=True)
class Actor:
    """The user that a request acts for, authenticated by a token of a session or a personal one.

    A personal access token has no ``session_id`` and only its own ``scopes``.
    ``notified_on_create`` is true if the user wants an email for each task it creates and its
    address is verified.
    """

    id: int
    role: str
    time_zone: str
    session_id: str = ""
    fresh: bool = False
    token_type: TokenType = "access"  # noqa: S105  # a type, not a secret
    scopes: frozenset[Scope] = ALL_SCOPES
    notified_on_create: bool = False

    @property
    def is_admin(self) -> bool:
        return self.role == Role.admin


class User(Model):
    """A user. The ``*_key`` columns make names and addresses unique without regard to case."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        *keyset_index("users", "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    username: Mapped[str] = mapped_column(String(80))
    username_key: Mapped[str] = mapped_column(BinaryCollatedString(80), unique=True)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(762), unique=True)
    email_verified: Mapped[bool]
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(StringEnum, index=True)
    time_zone: Mapped[str] = mapped_column(String(64))
    notify_on_create: Mapped[bool] = mapped_column(server_default=false(), default=False)
    notify_when_due: Mapped[bool] = mapped_column(server_default=true(), default=True)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def disabled(self) -> bool:
        return self.disabled_at is not None

    @property
    def notices_active(self) -> bool:
        return self.email_verified and not self.disabled

    @validates("username")
    def _set_username_key(self, _: str, username: str) -> str:
        self.username_key = identity_key(username)
        return username

    @validates("email")
    def _set_email_key(self, _: str, email: str) -> str:
        self.email_key = identity_key(email)
        return email


def identity_key(name: str) -> str:
    """Return the normalized form by which usernames and email addresses are compared.

    Domains are compared by their A-labels (UTS 46, non-transitional): ``fußball.example`` is not
    ``fussball.example``.
    """
    key = unicodedata.normalize("NFC", name.strip()).casefold()
    if "@" not in key:
        return key
    try:
        address = addresses.parse(name.strip())
    except ValueError:
        return key
    return f"{address.local_part.casefold()}@{address.ascii_domain}"


# An address that is not verified may be a stranger's.
CAN_RECEIVE_EMAIL = and_(User.email_verified, User.disabled_at.is_(None))
USER_COLUMNS = (
    User.id,
    User.username,
    User.email,
    User.email_verified,
    User.role,
    User.time_zone,
    User.notify_on_create,
    User.notify_when_due,
    CAN_RECEIVE_EMAIL.label("notices_active"),
    User.created_at,
    User.updated_at,
)


class Session(Model):
    """A session, which a login creates. Its tokens are revoked by deleting it.

    ``refresh_id`` is the id of the valid refresh token, ``spent_id`` that of the one before it.
    The last refresh was at ``refreshed_at``, the one before at ``refreshed_before``.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id_created_at_id", "user_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[UserId]
    refresh_id: Mapped[str] = mapped_column(String(32))
    spent_id: Mapped[str | None] = mapped_column(String(32))
    refreshed_at: Mapped[datetime] = mapped_column(index=True)
    refreshed_before: Mapped[datetime]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

    user: Mapped[User] = relationship(lazy="raise")


def sort_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """Return scopes without duplicates, in the order of the enumeration."""
    unique = set(scopes)
    return tuple(scope for scope in Scope if scope in unique)


class Scopes(TypeDecorator[tuple[Scope, ...]]):
    """Scopes, stored as their values separated by spaces."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Scope, ...]:
        return sort_scopes((value or "").split())


class PersonalToken(Model):
    """A personal access token, stored as a hash."""

    __tablename__ = "personal_tokens"
    __table_args__ = (
        *keyset_index("personal_tokens", "user_id", "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    user_id: Mapped[UserId]
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    scopes: Mapped[tuple[Scope, ...]] = mapped_column(Scopes)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")


class EmailTokenPurpose(StrEnum):
    """The purpose of an email token."""

    reset_password = "reset_password"  # noqa: S105  # a purpose, not a secret
    verify_email = "verify_email"
    change_email = "change_email"


class EmailToken(Model):
    """A single-use token that is sent to ``email``, stored as a hash."""

    __tablename__ = "email_tokens"
    __table_args__ = (
        Index("ix_email_tokens_user_id_purpose", "user_id", "purpose"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    user_id: Mapped[UserId]
    purpose: Mapped[str] = mapped_column(StringEnum)
    email: Mapped[str] = mapped_column(String(254))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

    user: Mapped[User] = relationship(lazy="raise")


class SecondFactor(Model):
    """The TOTP secret of a user, encrypted; logins require it once it is confirmed.

    ``last_step`` is the time step of the code that was used last: no code is accepted twice (RFC
    6238, 5.2). ``wrong_codes`` counts the wrong codes in a row; too many set ``locked_until``.
    """

    __tablename__ = "second_factors"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary(255))
    last_step: Mapped[int | None]
    wrong_codes: Mapped[int]
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")


class RecoveryCode(Model):
    """A single-use recovery code of a second factor, stored as a hash."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    created_at: Mapped[datetime]
