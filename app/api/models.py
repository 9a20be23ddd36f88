"""Table of idempotency records."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Model
from app.db.types import BigIntId


class IdempotencyRecord(Model):
    """The first response to a user's ``Idempotency-Key``."""

    __tablename__ = "idempotency_records"
    __table_args__ = (
        Index("ix_idempotency_records_user_id_created_at", "user_id", "created_at"),
        Index("ix_idempotency_records_created_at", "created_at"),
    )

    user_id: Mapped[int] = mapped_column(
        BigIntId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
