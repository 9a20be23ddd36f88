"""The tables of accounts and of the sessions that they open."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, validates
from sqlalchemy.types import TypeDecorator

from app.database import Model, RowId, Word, code_point_text, keyset


class Role(StrEnum):
    """What an account may do beyond what is its own."""

    user = "user"
    admin = "admin"


class Scope(StrEnum):
    """What a personal access token may be used for; a session may do all of it."""

    tasks_read = "tasks:read"
    tasks_write = "tasks:write"
    projects_read = "projects:read"
    projects_write = "projects:write"
    account_read = "account:read"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Actor:
    """The account that a request acts for, through a session or a personal access token.

    A token has no ``session_id``, and may do what its ``scopes`` say. ``notified_on_create`` tells
    that it wants a mail of each task that it creates, and has a proved address.
    """

    id: int
    role: str
    time_zone: str
    session_id: str = ""
    fresh: bool = False
    scopes: frozenset[Scope] = ALL_SCOPES
    notified_on_create: bool = False
    tasks_generation: int = 0

    @property
    def is_admin(self) -> bool:
        return self.role == Role.admin


class User(Model):
    """An account. Names and addresses are unique without regard to case, by their keys."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("username_key"),
        UniqueConstraint("email_key"),
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        Index("ix_users_role", "role"),
        *keyset("users", "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    username: Mapped[str] = mapped_column(String(80))
    username_key: Mapped[str] = mapped_column(code_point_text(80))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(762))
    email_verified: Mapped[bool]
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(Word)
    time_zone: Mapped[str] = mapped_column(String(64))
    notify_on_create: Mapped[bool] = mapped_column(server_default=false(), default=False)
    notify_when_due: Mapped[bool] = mapped_column(server_default=true(), default=True)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @hybrid_property
    def disabled(self) -> bool:
        return self.disabled_at is not None

    @disabled.inplace.expression
    @classmethod
    def _disabled(cls) -> ColumnElement[bool]:
        return cls.disabled_at.is_not(None)

    @validates("username")
    def _keep_username_key(self, _: str, username: str) -> str:
        self.username_key = identity_key(username)
        return username

    @validates("email")
    def _keep_email_key(self, _: str, email: str) -> str:
        self.email_key = identity_key(email)
        return email


def identity_key(name: str) -> str:
    """Return what a name or an address is compared by, however its characters were composed."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


class Session(Model):
    """What a login opens: its tokens name it, and die with its row.

    Of its refresh tokens it knows the one that is good, and the one that was spent for it; it was
    refreshed last at ``refreshed_at``, and the time before that at ``refreshed_before``.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_user_id_created_at_id", "user_id", "created_at", "id"),
        Index("ix_sessions_expires_at", "expires_at"),
        Index("ix_sessions_refreshed_at", "refreshed_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"))
    refresh_id: Mapped[str] = mapped_column(String(32))
    spent_id: Mapped[str | None] = mapped_column(String(32))
    refreshed_at: Mapped[datetime]
    refreshed_before: Mapped[datetime]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]


def in_order(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """Return scopes once each, in the order of the enumeration."""
    held = set(scopes)
    return tuple(scope for scope in Scope if scope in held)


class Scopes(TypeDecorator[tuple[Scope, ...]]):
    """Scopes, stored as their words and returned in the order of the enumeration."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Scope, ...]:
        return in_order((value or "").split())


class PersonalToken(Model):
    """An access token for scripts: of the token itself only its hash is kept."""

    __tablename__ = "personal_tokens"
    __table_args__ = (
        UniqueConstraint("token_hash"),
        *keyset("personal_tokens", "user_id", "created_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    user_id: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    scopes: Mapped[tuple[Scope, ...]] = mapped_column(Scopes)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class MailPurpose(StrEnum):
    """What a mailed token is good for."""

    reset_password = "reset_password"  # noqa: S105  # a purpose, not a secret
    verify_email = "verify_email"
    change_email = "change_email"


class MailedToken(Model):
    """A token that was mailed to ``email``, for one use; of the token only its hash is kept."""

    __tablename__ = "mailed_tokens"
    __table_args__ = (
        UniqueConstraint("token_hash"),
        Index("ix_mailed_tokens_user_id_purpose", "user_id", "purpose"),
        Index("ix_mailed_tokens_expires_at", "expires_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    user_id: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(Word)
    email: Mapped[str] = mapped_column(String(254))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SecondFactor(Model):
    """The secret of an account's one-time passwords, encrypted; in force once it is confirmed.

    ``last_step`` is the time step whose code was used last: no code works twice (RFC 6238, 5.2).
    ``wrong_codes`` counts those since the last right one; too many lock it, ``locked_until`` then.
    """

    __tablename__ = "second_factors"

    user_id: Mapped[int] = mapped_column(
        RowId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    secret: Mapped[bytes] = mapped_column(LargeBinary(255))
    last_step: Mapped[int | None]
    wrong_codes: Mapped[int]
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]


class RecoveryCode(Model):
    """The hash of a code that stands in for a second factor once."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(
        RowId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    created_at: Mapped[datetime]


class TaskGeneration(Model):
    """A number that each change of an account's tasks moves on, in the transaction that makes it.

    The database's triggers keep it, so that nothing that writes can forget to; what was read at one
    generation is good for as long as it is the account's.
    """

    __tablename__ = "task_generations"

    user_id: Mapped[int] = mapped_column(
        RowId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    generation: Mapped[int]
