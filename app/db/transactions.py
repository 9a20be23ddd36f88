"""Transactions of services: their commit, and bulk deletion in batches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar, overload

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import InstrumentedAttribute

from app.db.engine import begin_snapshot, begin_write, for_update
from app.extensions import db

# Rows deleted in one transaction, and seconds between two.
BATCH_SIZE = 1000
BATCH_DELAY = 0.02

Result = TypeVar("Result")
_DEFERRED = "commit_deferred"
_CALLBACKS = "after_commit"


@overload
def commit() -> None: ...
@overload
def commit(result: Result) -> Result: ...
def commit(result: Any = None) -> Any:
    """Commit, as the last act of a service, and return ``result``.

    Without a session there is nothing to commit: each statement was its own transaction.
    Within ``defer_commit`` only flush.
    """
    if not db.session.registry.has():
        return result
    if db.session.info.get(_DEFERRED):
        db.session.flush()
        return result
    try:
        db.session.commit()
    except OperationalError:
        # After a COMMIT that failed, SQLAlchemy's pool would reuse the connection within the open
        # transaction, which the next request would commit.
        db.session().invalidate()
        raise
    for callback in db.session.info.pop(_CALLBACKS, []):
        callback()
    return result


def begin() -> None:
    """Begin the transaction of statements that are committed together."""
    begin_write(db.session.connection())


@contextmanager
def defer_commit() -> Iterator[None]:
    """Let the service within write to one transaction with the caller, who commits it."""
    db.session.info[_DEFERRED] = True
    try:
        yield
    finally:
        db.session.info.pop(_DEFERRED, None)


def after_commit(callback: Callable[[], object]) -> None:
    """Call ``callback`` after the next commit."""
    db.session.info.setdefault(_CALLBACKS, []).append(callback)


def delete_expired(column: InstrumentedAttribute[Any], before: datetime) -> int:
    """Delete the rows whose ``column`` is before an instant, and return their number.

    Each transaction deletes at most BATCH_SIZE unlocked rows, the oldest first. The delay between
    two lets others write: SQLite allows one writer.
    """
    total = 0
    while True:
        deleted = _delete_batch(column, before)
        total += deleted
        if deleted < BATCH_SIZE:
            return total
        time.sleep(BATCH_DELAY)


def _delete_batch(column: InstrumentedAttribute[Any], before: datetime) -> int:
    table: Table = column.class_.__table__
    keys = list(table.primary_key)
    expired = select(*(key.label(f"key_{key.name}") for key in keys)).where(column < before)
    expired = for_update(expired.order_by(column).limit(BATCH_SIZE), skip_locked=True)
    rows = db.session.execute(expired).mappings().all()
    if rows:
        # One by one by key: SQLite uses no index for a list of composite keys.
        of_key = (key == bindparam(f"key_{key.name}") for key in keys)
        db.session.connection().execute(delete(table).where(*of_key), [dict(row) for row in rows])
    return commit(len(rows))


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything within as of one moment."""
    begin_snapshot(db.session.connection())
    try:
        yield
    finally:
        db.session.rollback()
