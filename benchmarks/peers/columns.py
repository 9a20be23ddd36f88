"""Column types and connection settings of the two peers on SQLAlchemy, as in its documentation."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Engine, SmallInteger, String, event
from sqlalchemy.types import TypeDecorator

from benchmarks.peers.rules import DATABASE_URL, Priority

URL = DATABASE_URL.replace("postgresql://", "postgresql+psycopg://")

# Positions are compared byte by byte.
Position = String(255).with_variant(String(255, collation="C"), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC: SQLite has none of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class PriorityRank(TypeDecorator[Priority]):
    """A priority, stored as a number that sorts."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: Priority | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Priority | None:
        return None if value is None else Priority(value)


@event.listens_for(Engine, "connect")
def use_wal(connection: Any, _record: Any) -> None:
    """Use write-ahead logging on SQLite, as ours does; the default would be slower."""
    if DATABASE_URL.startswith("sqlite"):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
