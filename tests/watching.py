"""The statements that an application's database is given, and the connections."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection

from app.extensions import db

Note = Callable[[PoolProxiedConnection, str, Any], None]


@contextmanager
def watched(app: Flask, note: Note) -> Iterator[None]:
    """Call ``note`` with each statement that is to run: connection, text and (first) parameters."""
    with app.app_context():
        engine = db.engine

    def listener(conn, cursor, text, parameters, context, executemany):
        note(conn.connection, text, parameters[0] if isinstance(parameters, list) else parameters)

    event.listen(engine, "before_cursor_execute", listener)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", listener)


@contextmanager
def statements_of(app: Flask) -> Iterator[list[str]]:
    """Collect the statements that run: ``with statements_of(app) as seen: ...; len(seen) == 2``."""
    seen: list[str] = []
    with watched(app, lambda _, text, __: seen.append(text)):
        yield seen


@contextmanager
def connections_of(app: Flask) -> Iterator[list[int]]:
    """Collect how many connections are out, each time that one is taken from the pool."""
    with app.app_context():
        engine = db.engine
    out: list[int] = []

    def taken(*_: Any) -> None:
        out.append(engine.pool.checkedout())

    event.listen(engine, "checkout", taken)
    try:
        yield out
    finally:
        event.remove(engine, "checkout", taken)
