"""The outbox table."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app import clock
from app.db.base import Model
from app.db.types import BigIntId

_NOT_DEAD: dict[str, Any] = dict.fromkeys(
    ("sqlite_where", "postgresql_where"), text("failed_at IS NULL")
)


class OutboxMessage(Model):
    """A message for one handler, first due when it is stored and later after each failure.

    The process that handles it has a lease on it until ``locked_until``. A message that failed too
    often is dead: it stays, with its ``failed_at``, until an operator retries it or it is purged.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due_at_id", "due_at", "id", **_NOT_DEAD),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    attempts: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(100))

    @property
    def state(self) -> str:
        """Waiting, running or dead."""
        if self.failed_at is not None:
            return "dead"
        is_leased = self.locked_until is not None and self.locked_until > clock.now()
        return "running" if is_leased else "waiting"
