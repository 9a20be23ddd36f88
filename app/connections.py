"""The connection of a request: its first statement takes one, and all others share it.

So does the session, where there is one already. Elsewhere than in a request nothing is shared.
"""

from contextvars import ContextVar
from typing import Any

from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.pool import PoolProxiedConnection


class Place:
    """Where a request has its connection, while it has one, and as the session has it."""

    __slots__ = ("borrower", "connection", "lent")

    def __init__(self) -> None:
        self.connection: PoolProxiedConnection | None = None
        self.lent: Connection | None = None
        self.borrower: Session | None = None

    @property
    def good(self) -> PoolProxiedConnection | None:
        """The connection, unless it was lost."""
        connection = self.connection
        return connection if connection is not None and connection.is_valid else None

    def lend(self, engine: Engine, borrower: "Session") -> Connection | None:
        """Return the connection for a session's transactions, or None without a good one."""
        connection = self.good
        if connection is None:
            return None
        if self.lent is None or self.lent.invalidated:
            self.lent = Connection(engine, connection)
        self.borrower = borrower
        return self.lent

    def clear(self) -> None:
        """Give the connection back, and what the session may have got in place of a lost one."""
        # One that several requests share, in a context around them all, goes on after this one.
        if self.borrower is not None and self.borrower.in_transaction():
            self.borrower.close()
        if self.lent is not None:
            self.lent.close()
        if self.connection is not None:
            self.connection.close()
        self.borrower = self.lent = self.connection = None


_place: ContextVar[Place | None] = ContextVar("place", default=None)


def share() -> Place:
    """Have the statements of what follows, in this thread, share a connection."""
    place = Place()
    _place.set(place)
    return place


def end_sharing(place: Place) -> None:
    """Give back what was shared."""
    _place.set(None)
    place.clear()


def take(engine: Engine) -> PoolProxiedConnection:
    """Return the connection that is shared, or one from the pool. Raises the driver's errors."""
    place = _place.get()
    if place is None:
        return engine.raw_connection()
    connection = place.good
    if connection is None:
        connection = place.connection = engine.raw_connection()
    return connection


def leave(connection: PoolProxiedConnection) -> None:
    """Give back what was taken, unless it is shared."""
    place = _place.get()
    if place is None or place.connection is not connection:
        connection.close()


class Session(FlaskSession):
    """Works on the connection of the request, for two might be more than there are."""

    _known: tuple[SessionTransaction, Connection] | None = None

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return that of the transaction at hand; SQLAlchemy looks for it anew each time."""
        if self._known is not None and self.get_transaction() is self._known[0]:
            return self._known[1]
        connection = super().connection(*args, **kwargs)
        transaction = self.get_transaction()
        self._known = None if transaction is None else (transaction, connection)
        return connection

    def get_bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connection of the request, or else the engine."""
        bind = super().get_bind(*args, **kwargs)
        place = _place.get()
        if place is None or isinstance(bind, Connection):
            return bind
        return place.lend(bind, self) or bind
