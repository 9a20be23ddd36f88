"""Recorders of SQL statements and of database connections in use."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection

from app.extensions import db

StatementListener = Callable[[PoolProxiedConnection, str, Any], None]


@contextmanager
def listen_to_statements(app: Flask, listener: StatementListener) -> Iterator[None]:
    """Call ``listener`` before each statement, with its connection, text and first parameters."""
    with app.app_context():
        engine = db.engine

    def before_execute(conn, cursor, text, parameters, context, executemany):
        first = parameters[0] if isinstance(parameters, list) else parameters
        listener(conn.connection, text, first)

    event.listen(engine, "before_cursor_execute", before_execute)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", before_execute)


@contextmanager
def record_statements(app: Flask) -> Iterator[list[str]]:
    """Record statements: ``with record_statements(app) as seen: ...; len(seen) == 2``."""
    seen: list[str] = []
    with listen_to_statements(app, lambda _, text, __: seen.append(text)):
        yield seen


@contextmanager
def record_connections(app: Flask) -> Iterator[list[int]]:
    """Record the number of connections in use at each checkout from the pool."""
    with app.app_context():
        engine = db.engine
    counts: list[int] = []

    def checkout(*_: Any) -> None:
        counts.append(engine.pool.checkedout())

    event.listen(engine, "checkout", checkout)
    try:
        yield counts
    finally:
        event.remove(engine, "checkout", checkout)
