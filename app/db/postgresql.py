"""PostgreSQL connections."""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

# A connection idle for longer is pinged before use. An empty server restarts in 65 ms at its
# fastest, so a connection used more recently can't have been lost unnoticed.
IDLE_SECONDS = 0.02
RETURNED_AT = "returned_at"

Result = TypeVar("Result")


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that waits at most ``timeout_seconds`` for a response.

    ``statement_timeout`` ends slow statements on the server; this is for a server that hangs.
    """

    timeout_seconds: float | None = None

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        """Raise psycopg.OperationalError if the response does not arrive in time."""
        try:
            return super().wait(gen, interval, self.timeout_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            # A late response must not be read as that of the next statement.
            if self.info.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def configure(engine: Engine, timeout: float) -> None:
    """Bound each response to ``timeout`` seconds, and ping connections that were idle."""
    event.listen(engine, "do_connect", partial(_connect, timeout))
    event.listen(engine, "checkin", _record_return)
    event.listen(engine, "checkout", partial(_ping_when_idle, engine.dialect))


def _connect(
    timeout: float, _dialect: Dialect, _record: Any, args: Sequence[Any], options: dict[str, Any]
) -> TimeoutConnection:
    connection = TimeoutConnection.connect(*args, **options)
    connection.timeout_seconds = timeout
    return connection


def _record_return(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[RETURNED_AT] = time.monotonic()


def _ping_when_idle(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: Any
) -> None:
    """Raise InvalidatePoolError if an idle connection was lost; the pool then reconnects."""
    if time.monotonic() - record.info.get(RETURNED_AT, math.inf) < IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error
