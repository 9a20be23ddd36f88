"""Engines: reads in autocommit, explicit transactions for writes."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVarTuple

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Dialect, Engine, Select, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import PoolProxiedConnection

from app.db import postgresql, sqlite
from app.db.postgresql import TimeoutConnection
from app.request_context import request_context

Columns = TypeVarTuple("Columns")


def for_update(statement: Select[*Columns], **options: Any) -> Select[*Columns]:
    """Lock the rows that a SELECT returns until the end of the transaction.

    On SQLite, which has no FOR UPDATE, the option begins a write transaction. The other ``options``
    are those of ``with_for_update()``.
    """
    return statement.with_for_update(**options).execution_options(locks_rows=True)


def for_key_share(statement: Select[*Columns]) -> Select[*Columns]:
    """Keep the rows that a SELECT returns from being deleted until the end of the transaction.

    It locks as the check of a foreign key does, but when the caller chooses. A transaction that
    locks rows of a user and then the user, or several rows in its own order, would deadlock with a
    deletion of the user, which locks the user first, then its rows: so it locks the user first too.
    """
    return for_update(statement, read=True, key_share=True)


def configure_engines(engines: Iterable[Engine], *, timeout: float) -> None:
    """Configure engines to read in autocommit and to begin a transaction before a write.

    ``timeout`` is in seconds: how long to wait for a response of PostgreSQL, or for SQLite's
    write lock.
    """
    for engine in engines:
        configure = sqlite.configure if engine.dialect.name == "sqlite" else postgresql.configure
        configure(engine, timeout)
        event.listen(engine, "do_execute", _begin_before_write)
        event.listen(engine, "do_executemany", _begin_before_write)


def disable_timeouts(conn: Connection) -> None:
    """Remove the time limits of a connection, which does not return to the pool."""
    if conn.dialect.name == "postgresql":
        conn.detach()
        with _driver(conn) as raw:
            raw.timeout_seconds = None
            raw.execute("SET statement_timeout = 0")


def begin_write(conn: Connection) -> None:
    """Begin a transaction, unless one is open.

    On SQLite it is IMMEDIATE: it waits for other writers now; a transaction that begins as a
    reader fails with "database is locked" at its first write.
    """
    with _driver(conn) as raw:
        _begin(raw)


def begin_snapshot(conn: Connection) -> None:
    """Begin a read-only transaction that sees the database as of now until it ends."""
    is_sqlite = conn.dialect.name == "sqlite"
    with _driver(conn) as raw:
        raw.execute("BEGIN" if is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


def wrap_error(
    error: Any, dialect: Dialect, pooled: PoolProxiedConnection | None = None, text: str = ""
) -> BaseException:
    """Return a driver's error as SQLAlchemy's, without parameters; discard a lost connection."""
    lost = pooled is not None and dialect.is_disconnect(error, pooled.dbapi_connection, None)
    if lost and pooled is not None:
        pooled.invalidate(error)
    wrapped: BaseException = DBAPIError.instance(
        text or None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=dialect,
    )
    return wrapped


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the violated constraint, or None if the database does not name it."""
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if name is not None:
        return str(name)
    text = str(error.orig)
    if match := re.fullmatch(r"CHECK constraint failed: (\w+)", text):
        return match[1]
    if match := re.fullmatch(r"UNIQUE constraint failed: (.+)", text):
        table, columns = "", []
        for column in match[1].split(", "):
            table, _, name = column.partition(".")
            columns.append(name)
        return f"uq_{table}_{'_'.join(columns)}"
    return None


def _begin_before_write(cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
    request_context().queries += 1
    if (
        context.isinsert
        or context.isupdate
        or context.isdelete
        or context.execution_options.get("locks_rows")
    ):
        _begin(cursor.connection)


@contextmanager
def _driver(conn: Connection) -> Iterator[Any]:
    """Yield the connection of the driver, whose errors are raised as SQLAlchemy's."""
    pooled = conn.connection
    try:
        yield pooled.dbapi_connection
    except conn.dialect.loaded_dbapi.Error as error:
        raise wrap_error(error, conn.dialect, pooled) from error


def _begin(connection: Any) -> None:
    if isinstance(connection, TimeoutConnection):
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            connection.execute("BEGIN")
    elif not connection.in_transaction:
        connection.execute("BEGIN IMMEDIATE")
