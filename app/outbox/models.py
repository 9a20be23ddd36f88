"""The table of work that is handed over in the transaction that causes it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Model, RowId

_waiting = text("failed_at IS NULL")


class OutboxItem(Model):
    """One piece of work, tried first at ``due_at`` and then later each time it fails.

    Whoever is at it holds it until ``held_until``. What was given up stays, with its ``failed_at``.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_due_at_id",
            "due_at",
            "id",
            sqlite_where=_waiting,
            postgresql_where=_waiting,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    attempts: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    held_until: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(100))
