"""The table of outcomes that are kept for whoever asks again."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Model, RowId


class KeptAnswer(Model):
    """The first outcome of a request that named itself with an ``Idempotency-Key``."""

    __tablename__ = "kept_answers"
    __table_args__ = (
        Index("ix_kept_answers_user_id_created_at", "user_id", "created_at"),
        Index("ix_kept_answers_created_at", "created_at"),
    )

    user_id: Mapped[int] = mapped_column(
        RowId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
