"""The ground under the models: base class, column types, and how connections behave."""

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Text,
    event,
    func,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError, InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, registry
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.floor import floor
from app.origin import origin
from app.turns import Line

BIGGEST_ID = 2**63 - 1
# So long after its last use, a connection may have been lost unnoticed. A server that restarts, at
# its quickest and with nothing in it, takes three times as long.
IDLE_SECONDS = 0.02
# So much of a file SQLite maps into memory at most, unless it was compiled to map less.
MOST_MAPPED = 0x7FFF0000
# So many bytes of log SQLite lets come together: most pages are written to again and again.
MOST_LOGGED = 256 * 1024 * 1024
PAGE = 4096
RETURNED = "returned_at"
LINE = "line_of_writers"

Found = TypeVar("Found")
Column = Callable[[Sequence[Any]], Iterable[Any]]

# SQLite numbers rows by itself only in a column declared INTEGER PRIMARY KEY.
RowId = BigInteger().with_variant(Integer, "sqlite")


def code_point_text(length: int) -> String:
    """Text that sorts by Unicode code point on every database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def only_on(dialect: str, index: Index) -> Index:
    """Return an index that one database has and the other hasn't."""
    index.info["only_on"] = dialect
    return index.ddl_if(dialect=dialect)


def keyset(table: str, *columns: str) -> tuple[Index, Index]:
    """Return, for each database, the index of a list in the order of its last column and the id.

    SQLite has the id at the end of each index, and finds a place by it where it is not named.
    """
    name = f"ix_{table}_{'_'.join(columns)}"
    return (
        only_on("sqlite", Index(name, *columns)),
        only_on("postgresql", Index(f"{name}_id", *columns, "id")),
    )


class _Lexemes(TSVECTOR):
    """A tsvector of words that are separated by spaces, just as they are."""

    def bind_expression(self, bindvalue: BindParameter[Any]) -> ColumnElement[Any]:
        return func.array_to_tsvector(func.string_to_array(type_coerce(bindvalue, Text), " "))


# Words that are searched, separated by spaces.
Words = Text().with_variant(_Lexemes(), "postgresql")


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC and returned in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Word(TypeDecorator[StrEnum]):
    """One word of an enumeration, stored and returned as that word."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)


class Rank(TypeDecorator[str]):
    """One word of an enumeration that has an order: stored as its rank, returned as the word."""

    impl = SmallInteger
    cache_ok = True

    def __init__(self, ranks: type[IntEnum]) -> None:
        super().__init__()
        self.ranks = ranks
        self._words = {rank.value: rank.name for rank in ranks}

    def process_bind_param(self, value: str | int | None, dialect: Dialect) -> int | None:
        return self.ranks[value].value if isinstance(value, str) else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> str | None:
        return None if value is None else self._words[value]

    def word(self, rank: int) -> str:
        return self._words[rank]


def shown_column(kind: TypeEngine[Any], dialect: Dialect) -> Column | None:
    """Return what makes JSON's values of a column's, as the driver gives them; None for nothing."""
    if isinstance(kind, Rank):
        return partial(map, kind.word)
    if dialect.name == "sqlite" and isinstance(kind, Instant):
        return _instants_of_sqlite
    if isinstance(kind, Instant | Date):
        return None
    return stored_column(kind, dialect)


def stored_column(kind: TypeEngine[Any], dialect: Dialect) -> Column | None:
    """Return what makes Python's values of a column's, as the driver gives them."""
    process = kind.dialect_impl(dialect).result_processor(dialect, None)
    return partial(map, process) if process else None


def _instants_of_sqlite(stored: Sequence[str | None]) -> Iterable[str | None]:
    there = [text for text in stored if text is not None]
    if not there:
        return stored
    told = _instant_of_sqlite("Z\n".join(there)).split("\n")
    if len(there) == len(stored):
        return told
    following = iter(told)
    return [None if text is None else next(following) for text in stored]


def _instant_of_sqlite(stored: str) -> str:
    """Return ``2030-01-31 09:00:00.000000``, or many of them, as RFC 3339 has it."""
    return f"{stored.replace(' ', 'T').replace('.000000', '')}Z"


class Model(DeclarativeBase):
    """What every table has in common: constraints named by one convention, instants in UTC."""

    registry = registry(
        metadata=MetaData(
            naming_convention={
                "pk": "pk_%(table_name)s",
                "fk": "fk_%(table_name)s_%(column_0_N_name)s",
                "uq": "uq_%(table_name)s_%(column_0_N_name)s",
                "ix": "ix_%(table_name)s_%(column_0_N_name)s",
                "ck": "ck_%(table_name)s_%(constraint_name)s",
            }
        ),
        type_annotation_map={datetime: Instant, int: BigInteger},
    )


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose patience has an end, in seconds.

    The server ends a statement that takes too long by itself; this is for one that has stopped. A
    server on this machine mostly answers sooner than the floor could be handed on and taken back.
    """

    patience: float | None = None
    is_near = True

    def wait(self, gen: PQGen[Found], interval: float = 0.1, timeout: float | None = None) -> Found:
        """Raise psycopg.OperationalError where the answer does not come in time."""
        try:
            with nullcontext() if self.is_near else floor.left():
                return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            # The answer may still come; nobody is to take it for that of the next statement.
            if self.info.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def prepare_engines(engines: Iterable[Engine], *, timeout: float) -> None:
    """Make engines read in autocommit and write in transactions that wait for one another.

    PostgreSQL is waited for no longer than ``timeout`` seconds for each answer.
    """
    for engine in engines:
        _prepare_engine(engine, timeout)


def _prepare_engine(engine: Engine, timeout: float) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        path = engine.url.database
        if path and path != ":memory:" and not path.startswith("file:"):
            engine.update_execution_options(**{LINE: Line(path, timeout)})
    else:
        event.listen(engine, "do_connect", partial(_connect_patiently, timeout))
        event.listen(engine, "checkin", _note_return)
        event.listen(engine, "checkout", partial(_ask_idle, engine.dialect))
    event.listen(engine, "do_execute", _begin_before_write)
    event.listen(engine, "do_executemany", _begin_before_write)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit survives the end of the process; the last ones may not survive a loss of power.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Beside a server's requests a thread moves pages out of the log long before: whoever writes
    # would wait meanwhile.
    connection.execute(f"PRAGMA wal_autocheckpoint = {MOST_LOGGED // PAGE}")
    # What a search reads lies apart: to copy each page takes longer than to look into it.
    connection.execute(f"PRAGMA mmap_size = {MOST_MAPPED}")


def _connect_patiently(
    timeout: float, _dialect: Dialect, _record: Any, args: Sequence[Any], options: dict[str, Any]
) -> PatientConnection:
    connection = PatientConnection.connect(*args, **options)
    connection.patience = timeout
    connection.is_near = _is_near(connection.info.hostaddr)
    return connection


def _is_near(address: str) -> bool:
    """Tell whether an address is this machine's; a socket in the file system has none."""
    return not address or ip_address(address).is_loopback


def _note_return(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[RETURNED] = time.monotonic()


def _ask_idle(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: Any
) -> None:
    """Ask a connection that was idle whether it is still there; one just used mostly is.

    Raises InvalidatePoolError, whereupon the pool makes it and all its like anew.
    """
    if time.monotonic() - record.info.get(RETURNED, math.inf) < IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def take_time(conn: Connection) -> None:
    """Let what a connection runs take as long as it needs; the pool does not get it back."""
    if conn.dialect.name == "postgresql":
        conn.detach()
        raw: Any = conn.connection.dbapi_connection
        raw.patience = None
        raw.execute("SET statement_timeout = 0")


def _begin_before_write(cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
    origin().queries += 1
    if (
        context.isinsert
        or context.isupdate
        or context.isdelete
        or context.execution_options.get("locks_rows")
    ):
        _begin(cursor.connection)


def begin_write(conn: Connection) -> None:
    """Begin a transaction that writes, unless one is under way.

    SQLite's is IMMEDIATE: it waits its turn now, where one that began as a reader would fail.
    """
    _begin(conn.connection.dbapi_connection)


def _begin(connection: Any) -> None:
    if isinstance(connection, PatientConnection):
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            connection.execute("BEGIN")
    elif not connection.in_transaction:
        connection.execute("BEGIN IMMEDIATE")


def turn_to_write(engine: Engine) -> AbstractContextManager[None]:
    """Wait for one's turn with a statement that writes by itself, where there is room for one."""
    line: Line | None = engine.get_execution_options().get(LINE)
    return nullcontext() if line is None else line.turn()


def begin_snapshot(conn: Connection) -> None:
    """Begin a transaction that only reads, and sees what is there now until it ends."""
    raw: Any = conn.connection.dbapi_connection
    is_sqlite = conn.dialect.name == "sqlite"
    raw.execute("BEGIN" if is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the constraint that a write broke, or None where none is named."""
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if name is not None:
        return str(name)
    text = str(error.orig)
    if found := re.fullmatch(r"CHECK constraint failed: (\w+)", text):
        return found[1]
    if found := re.fullmatch(r"UNIQUE constraint failed: (.+)", text):
        table, columns = "", []
        for column in found[1].split(", "):
            table, _, name = column.partition(".")
            columns.append(name)
        return f"uq_{table}_{'_'.join(columns)}"
    return None
