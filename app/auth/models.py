"""The tables of accounts and of the sessions that they open."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.database import Model, RowId, Word


class Role(StrEnum):
    """What an account may do beyond what is its own."""

    user = "user"
    admin = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """The account that a request acts for, through one session of its own."""

    id: int
    role: str
    time_zone: str
    session_id: str
    fresh: bool = False

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
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    username: Mapped[str] = mapped_column(String(80))
    username_key: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(762))
    email_verified: Mapped[bool]
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(Word)
    time_zone: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

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
    __table_args__ = (Index("ix_sessions_user_id_created_at_id", "user_id", "created_at", "id"),)

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
