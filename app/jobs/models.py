"""The table of work that is handed over in the transaction that causes it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Model, RowId


class OutboxItem(Model):
    """One piece of work, tried first at ``due_at`` and then later each time it fails."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due_at_id", "due_at", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    attempts: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
