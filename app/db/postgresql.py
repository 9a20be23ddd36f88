"""PostgreSQL connections."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock
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


class CircuitBreaker:
    """Lets requests fail at once while the server does not respond.

    Otherwise each request would wait for its timeout, and all threads of the process would wait
    for the database, also for requests that do not need it. After a timeout, one attempt at a time
    waits for the server, until it responds.
    """

    def __init__(self, timeout: float) -> None:
        # An attempt pings, and then connects again.
        self._attempt_seconds = 2 * timeout
        self._lock = Lock()
        self._next_attempt: float | None = None

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Ping or connect. Raises psycopg.OperationalError while another attempt waits."""
        with self._lock:
            is_open = self._next_attempt is not None
            if self._next_attempt is not None:
                now = time.monotonic()
                if now < self._next_attempt:
                    raise psycopg.OperationalError("The server does not respond.")
                self._next_attempt = now + self._attempt_seconds
        try:
            yield
        except psycopg.OperationalError:
            if is_open:
                with self._lock:
                    self._next_attempt = time.monotonic()
            raise
        with self._lock:
            self._next_attempt = None

    def open(self) -> None:
        """Record a timeout."""
        with self._lock:
            if self._next_attempt is None:
                self._next_attempt = time.monotonic()


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that waits at most ``timeout_seconds`` for a response.

    ``statement_timeout`` ends slow statements on the server; this is for a server that hangs.
    """

    timeout_seconds: float | None = None
    breaker: CircuitBreaker | None = None

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
                if self.breaker is not None:
                    self.breaker.open()
            raise


def configure(engine: Engine, timeout: float) -> None:
    """Bound each response to ``timeout`` seconds, and ping connections that were idle."""
    breaker = CircuitBreaker(timeout)
    event.listen(engine, "do_connect", partial(_connect, timeout, breaker))
    event.listen(engine, "checkin", _record_return)
    event.listen(engine, "checkout", partial(_ping_when_idle, engine.dialect, breaker))


def _connect(
    timeout: float,
    breaker: CircuitBreaker,
    _dialect: Dialect,
    _record: Any,
    args: Sequence[Any],
    options: dict[str, Any],
) -> TimeoutConnection:
    with breaker.attempt():
        try:
            connection = TimeoutConnection.connect(*args, **options)
        except psycopg.errors.ConnectionTimeout:
            breaker.open()
            raise
    connection.timeout_seconds = timeout
    connection.breaker = breaker
    return connection


def _record_return(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[RETURNED_AT] = time.monotonic()


def _ping_when_idle(
    dialect: Dialect,
    breaker: CircuitBreaker,
    connection: DBAPIConnection,
    record: ConnectionPoolEntry,
    _proxy: Any,
) -> None:
    """Raise InvalidatePoolError if an idle connection was lost; the pool then reconnects."""
    if time.monotonic() - record.info.get(RETURNED_AT, math.inf) < IDLE_SECONDS:
        return
    try:
        with breaker.attempt():
            dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error
