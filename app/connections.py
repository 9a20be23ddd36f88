"""The connection of a request: its first statement takes one, and all others share it.

Within a request only: elsewhere, and where a transaction of the session's begins, there is none.
"""

from contextvars import ContextVar
from typing import Any

from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.pool import PoolProxiedConnection


class Place:
    """Where a request has its connection, while it has one."""

    __slots__ = ("connection",)

    def __init__(self) -> None:
        self.connection: PoolProxiedConnection | None = None

    def clear(self) -> None:
        """Give the connection back."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


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
    if place.connection is None or not place.connection.is_valid:
        place.connection = engine.raw_connection()
    return place.connection


def leave(connection: PoolProxiedConnection) -> None:
    """Give back what was taken, unless it is shared."""
    place = _place.get()
    if place is None or place.connection is not connection:
        connection.close()


class Session(FlaskSession):
    """Takes over the connection of the request, for two might be more than there are."""

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
        """Return the engine, as Flask-SQLAlchemy finds it."""
        if place := _place.get():
            place.clear()
        return super().get_bind(*args, **kwargs)
