"""Column types and connections of the two peers on SQLAlchemy, as its documentation has them."""

from datetime import UTC, datetime
from typing import Any

from peers.rules import DATABASE_URL, Priority
from sqlalchemy import DateTime, Dialect, Engine, SmallInteger, String, event
from sqlalchemy.types import TypeDecorator

# By psycopg 3.
URL = DATABASE_URL.replace("postgresql://", "postgresql+psycopg://")

# Places in a list are compared byte by byte.
Position = String(255).with_variant(String(255, collation="C"), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC: SQLite has none of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Rank(TypeDecorator[Priority]):
    """A priority, stored as a number that sorts."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: Priority | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Priority | None:
        return None if value is None else Priority(value)


@event.listens_for(Engine, "connect")
def use_wal(connection: Any, _record: Any) -> None:
    """Have SQLite write ahead, as ours does; its default would be slower."""
    if DATABASE_URL.startswith("sqlite"):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
