"""One pooled connection per request, shared by compiled statements and the session.

Two connections in one request would overflow a pool that has one per thread. Outside a request
nothing is shared.
"""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any

from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.pool import PoolProxiedConnection

_log = logging.getLogger(__name__)


class RequestConnection:
    """The pooled connection of a request, taken by its first statement."""

    pooled: PoolProxiedConnection | None = None
    session: "Session | None" = None
    bound: Connection | None = None

    def bind_session(self, engine: Engine, session: "Session") -> Connection | None:
        """Return the connection for a transaction of ``session``, or None if there is none."""
        if self.pooled is None or not self.pooled.is_valid:
            return None
        if self.bound is None or self.bound.invalidated:
            self.bound = Connection(engine, self.pooled)
        self.session = session
        return self.bound

    def release(self) -> None:
        """Return the connection to the pool; the next statement takes another."""
        # A session of an outer application context may outlive the request.
        if self.session is not None and self.session.in_transaction():
            self.session.close()
        if self.bound is not None:
            self.bound.close()
        if self.pooled is not None:
            self.pooled.close()
        self.session = self.bound = self.pooled = None


_current: ContextVar[RequestConnection | None] = ContextVar("request_connection", default=None)


@contextmanager
def scope() -> Iterator[RequestConnection]:
    """Share one connection between the statements within, and return it to the pool."""
    shared = RequestConnection()
    _current.set(shared)
    try:
        yield shared
    finally:
        _current.set(None)
        shared.release()


def release() -> None:
    """Return the shared connection to the pool before the end of the request."""
    if (shared := _current.get()) is not None:
        shared.release()


@contextmanager
def checkout(engine: Engine) -> Iterator[PoolProxiedConnection]:
    """Use the shared connection, or one from the pool. Raises the driver's errors."""
    shared = _current.get()
    if shared is None:
        with closing(engine.raw_connection()) as connection:
            yield connection
        return
    if shared.pooled is None or not shared.pooled.is_valid:
        shared.pooled = engine.raw_connection()
    yield shared.pooled


class Session(FlaskSession):
    """A session that works on the connection of the request."""

    _cached: tuple[SessionTransaction, Connection] | None = None

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return the connection of the current transaction, looked up once per transaction."""
        if self._cached is not None and self.get_transaction() is self._cached[0]:
            return self._cached[1]
        connection = super().connection(*args, **kwargs)
        transaction = self.get_transaction()
        self._cached = None if transaction is None else (transaction, connection)
        return connection

    def close(self) -> None:
        """Close the session. A rollback that fails is only logged: the response is known by now.

        Unlike ``close()``, ``rollback()`` returns the connection then too; the pool discards it.
        """
        if self.in_transaction():
            self.expunge_all()
            try:
                self.rollback()
            except DBAPIError:
                _log.warning("A rollback failed.", exc_info=True)
        super().close()

    def get_bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connection of the request, or else the engine."""
        bind = super().get_bind(*args, **kwargs)
        shared = _current.get()
        if shared is None or isinstance(bind, Connection):
            return bind
        return shared.bind_session(bind, self) or bind
