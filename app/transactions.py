"""How a service ends: with its commit, and with what must be kept together with its effect."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar, overload

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from app.database import begin_snapshot, begin_write
from app.extensions import db

# How many rows are deleted in one transaction, and how many seconds are between two.
CHUNK = 1000
PAUSE = 0.02

Result = TypeVar("Result")
_LISTENERS = "before_commit"
_FOLLOWERS = "after_commit"


@overload
def commit() -> None: ...
@overload
def commit(result: Result) -> Result: ...
def commit(result: Any = None) -> Any:
    """Commit, as the last act of a service, and return what the service gives.

    Whoever asked for it with ``before_commit`` is told the result first, in the same transaction;
    whoever asked with ``after_commit`` is called when it is over. Where there is no transaction,
    because each statement was one by itself, there is nothing to do.
    """
    if not db.session.registry.has():
        return result
    db.session.flush()
    for listener in db.session.info.pop(_LISTENERS, []):
        listener(result)
    db.session.commit()
    for follower in db.session.info.pop(_FOLLOWERS, []):
        follower()
    return result


def begin() -> None:
    """Begin the transaction of what is written together, up to the commit."""
    begin_write(db.session.connection())


def before_commit(listener: Callable[[Any], None]) -> None:
    """Have ``listener`` called with the result of the next service that commits."""
    db.session.info.setdefault(_LISTENERS, []).append(listener)


def after_commit(follower: Callable[[], object]) -> None:
    """Have ``follower`` called once the next service has committed."""
    db.session.info.setdefault(_FOLLOWERS, []).append(follower)


def delete_older(column: InstrumentedAttribute[Any], than: datetime) -> int:
    """Delete the rows whose ``column`` is before an instant, and return how many they were.

    Each transaction takes at most CHUNK, the oldest that nobody else is at, and leaves others time
    to write: SQLite has room for one writer.
    """
    gone = 0
    while True:
        deleted = _delete_some(column, than)
        gone += deleted
        if deleted < CHUNK:
            return gone
        time.sleep(PAUSE)


def _delete_some(column: InstrumentedAttribute[Any], than: datetime) -> int:
    table: Table = column.class_.__table__
    keys = list(table.primary_key)
    old = select(*(key.label(f"old_{key.name}") for key in keys)).where(column < than)
    old = old.order_by(column).limit(CHUNK).with_for_update(skip_locked=True)
    found = db.session.execute(old.execution_options(locks_rows=True)).mappings().all()
    if found:
        # One by one, by their key: of a key of two columns, SQLite looks up no list.
        of_key = (key == bindparam(f"old_{key.name}") for key in keys)
        db.session.connection().execute(delete(table).where(*of_key), [dict(row) for row in found])
    return commit(len(found))


@contextmanager
def snapshot() -> Iterator[None]:
    """Read all that is read within as of one moment; nothing is written before it ends."""
    begin_snapshot(db.session.connection())
    try:
        yield
    finally:
        db.session.rollback()
