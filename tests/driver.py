"""A hook in the driver: called before each statement of this thread, BEGIN and COMMIT included.

SQLAlchemy's events miss what is sent without them: compiled statements, BEGIN, COMMIT, ROLLBACK.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from flask import Flask
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text

from app.db.postgresql import TimeoutConnection
from app.extensions import db

Action = Callable[[Any], None]
# Threads that the test starts have contexts of their own, without it.
_action: ContextVar[Action | None] = ContextVar("action", default=None)


def _call(connection: Any) -> None:
    if (action := _action.get()) is not None:
        action(connection)


class _Cursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> sqlite3.Cursor:
        _call(self.connection)
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        _call(self.connection)
        return super().executemany(*args)


class _Connection(sqlite3.Connection):
    def cursor(self, factory: type[sqlite3.Cursor] = _Cursor) -> sqlite3.Cursor:
        return super().cursor(factory)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        return self.cursor().execute(*args)

    def commit(self) -> None:
        if self.in_transaction:
            _call(self)
        super().commit()

    def rollback(self) -> None:
        if self.in_transaction:
            _call(self)
        super().rollback()


def _connect(_dialect: Any, _record: Any, args: Any, options: Any) -> sqlite3.Connection:
    return sqlite3.connect(*args, **options, factory=_Connection)


@contextmanager
def hooks(app: Flask, monkeypatch: Any) -> Iterator[None]:
    """Let ``before_statements`` work within."""
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "postgresql":
        wait = TimeoutConnection.wait

        def call_and_wait(self: TimeoutConnection, steps: Any, *args: Any, **kwargs: Any) -> Any:
            # Without a transaction, COMMIT and ROLLBACK send nothing.
            ends_nothing = steps.__name__ in {"_commit_gen", "_rollback_gen"} and (
                self.info.transaction_status == TransactionStatus.IDLE
            )
            if not ends_nothing:
                _call(self)
            return wait(self, steps, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(TimeoutConnection, "wait", call_and_wait)
            yield
        return
    event.listen(engine, "do_connect", _connect)
    engine.dispose()
    yield
    event.remove(engine, "do_connect", _connect)
    engine.dispose()


class Interruption:
    """Does something before the statement of a number, counted from 1."""

    def __init__(self, number: int, act: Action) -> None:
        self._number = number
        self._act = act
        self._seen = 0

    @property
    def happened(self) -> bool:
        return self._seen >= self._number

    def __call__(self, connection: Any) -> None:
        self._seen += 1
        if self._seen == self._number:
            self._act(connection)


@contextmanager
def before_statement(number: int, act: Action) -> Iterator[Interruption]:
    """Call ``act``, once, with the driver's connection before the statement of that number."""
    interruption = Interruption(number, act)
    token = _action.set(interruption)
    try:
        yield interruption
    finally:
        _action.reset(token)


def lose_connection(app: Flask) -> Action:
    """Return an action that ends the connection: the server's process, or SQLite's access."""
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        return _fail

    def terminate(connection: Any) -> None:
        pid = connection.info.backend_pid
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    def act(connection: Any) -> None:
        token = _action.set(None)
        try:
            terminate(connection)
        finally:
            _action.reset(token)

    return act


def _fail(_connection: Any) -> None:
    raise sqlite3.OperationalError("disk I/O error")
