"""Column types, and how their values are converted for Python and for JSON."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Integer,
    SmallInteger,
    String,
    Text,
    func,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.types import TypeDecorator, TypeEngine

MAX_ID = 2**63 - 1

# The versions of a row that a client is ready to overwrite; None stands for any.
ExpectedVersions = Collection[int] | None

# Converts all values of one column at once.
ColumnProcessor = Callable[[Sequence[Any]], Iterable[Any]]

# SQLite generates ids only for a column declared INTEGER PRIMARY KEY.
BigIntId = BigInteger().with_variant(Integer, "sqlite")


def BinaryCollatedString(length: int) -> String:  # noqa: N802  # used like a type
    """Return a string type that sorts by Unicode code point on every database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class _Lexemes(TSVECTOR):
    """A tsvector built from space-separated words, without PostgreSQL's parser."""

    def bind_expression(self, bindvalue: BindParameter[Any]) -> ColumnElement[Any]:
        return func.array_to_tsvector(func.string_to_array(type_coerce(bindvalue, Text), " "))


# Space-separated search words: a tsvector on PostgreSQL, text on SQLite.
SearchVector = Text().with_variant(_Lexemes(), "postgresql")


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored and returned in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class StringEnum(TypeDecorator[StrEnum]):
    """A member of a ``StrEnum``, stored and returned as its string value."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)


class OrderedEnum(TypeDecorator[str]):
    """A member of an ``IntEnum``, stored as its number so that it sorts, returned as its name."""

    impl = SmallInteger
    cache_ok = True

    def __init__(self, enum: type[IntEnum]) -> None:
        super().__init__()
        self.enum = enum
        self.names = {member.value: member.name for member in enum}

    def process_bind_param(self, value: str | int | None, dialect: Dialect) -> int | None:
        return self.enum[value].value if isinstance(value, str) else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> str | None:
        return None if value is None else self.names[value]


def json_result_processor(column_type: TypeEngine[Any], dialect: Dialect) -> ColumnProcessor | None:
    """Return what converts driver values of a column to JSON values, or None if nothing has to."""
    if isinstance(column_type, OrderedEnum):
        return partial(map, column_type.names.__getitem__)
    if dialect.name == "sqlite" and isinstance(column_type, UTCDateTime):
        return _sqlite_datetimes_to_rfc3339
    if isinstance(column_type, UTCDateTime | Date):
        return None
    return python_result_processor(column_type, dialect)


def python_result_processor(
    column_type: TypeEngine[Any], dialect: Dialect
) -> ColumnProcessor | None:
    """Return what converts driver values of a column to Python values, or None."""
    process = column_type.dialect_impl(dialect).result_processor(dialect, None)
    return partial(map, process) if process else None


def _sqlite_datetimes_to_rfc3339(stored: Sequence[str | None]) -> Iterable[str | None]:
    # One replace over the joined column is several times as fast as one per value.
    present = [text for text in stored if text is not None]
    if not present:
        return stored
    joined = "Z\n".join(present).replace(" ", "T")
    converted = f"{joined}Z".split("\n")
    if len(present) == len(stored):
        return converted
    values = iter(converted)
    return [None if text is None else next(values) for text in stored]
