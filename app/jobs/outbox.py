"""The outbox: work that is handed over in one transaction, and done after it.

What is enqueued is kept with the effect that causes it, or not at all, and a crash loses nothing:
what is claimed and not finished within LEASE is tried again. What a job writes is committed with
the end of its item, so it is there once; what it sends may be sent twice.
"""

import logging
import random
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any, NamedTuple

from flask import Flask, current_app
from sqlalchemy import delete, insert, select, update

from app import clock
from app.extensions import db
from app.jobs.models import OutboxItem
from app.transactions import after_commit, commit

Handler = Callable[..., None]

# How long a claim holds: longer than any job takes.
LEASE = timedelta(minutes=5)
# The wait after the first failure; it doubles with each, up to LONGEST.
FIRST = timedelta(seconds=10)
LONGEST = timedelta(hours=1)
# With these waits, some three hours.
ATTEMPTS = 13


class Claim(NamedTuple):
    """An item that is ours to do, until its lease runs out; this is attempt ``attempts``."""

    id: int
    kind: str
    payload: dict[str, Any]
    attempts: int


_handlers: dict[str, Handler] = {}
_log = logging.getLogger(__name__)


def job(kind: str) -> Callable[[Handler], Handler]:
    """Have a function do the work of one kind; it gets the payload as keyword arguments.

    Its commit is the outbox's; a job that sends commits what that needs first, and writes nothing
    after. Whatever it raises, it is tried again later.
    """

    def decorator(handler: Handler) -> Handler:
        _handlers[kind] = handler
        return handler

    return decorator


def enqueue(kind: str, **payload: Any) -> None:
    """Add work to the transaction at hand; it is done soon after the commit."""
    if kind not in _handlers:
        raise LookupError(f"There is no job called {kind}.")
    now = clock.now()
    item = {"kind": kind, "payload": payload, "attempts": 0, "created_at": now, "due_at": now}
    db.session.execute(insert(OutboxItem), item)
    after_commit(enqueued().set)


def enqueued() -> Event:
    """Return what is set when this process has enqueued something."""
    event: Event = current_app.extensions["outbox"]
    return event


def drain() -> int:
    """Do all that is due, and return how many items were tried."""
    tried = 0
    while do_next():
        tried += 1
    return tried


def do_next() -> bool:
    """Do what has been due longest, or try to; tell whether there was anything."""
    item = _claim()
    if item is not None:
        _try(item)
    return item is not None


def _claim() -> Claim | None:
    """Take the item that has been due longest, by one statement that no other waits for."""
    now = clock.now()
    longest_due = (
        select(OutboxItem.id)
        .where(OutboxItem.due_at <= now)
        .order_by(OutboxItem.due_at, OutboxItem.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = db.session.execute(
        update(OutboxItem)
        .where(OutboxItem.id == longest_due.scalar_subquery())
        .values(due_at=now + LEASE, attempts=OutboxItem.attempts + 1)
        .returning(OutboxItem.id, OutboxItem.kind, OutboxItem.payload, OutboxItem.attempts)
        .execution_options(synchronize_session=False)
    ).first()
    return commit(Claim(*taken) if taken else None)


def _try(item: Claim) -> None:
    if item.attempts > ATTEMPTS:
        _log.error("Job %s %d is given up after %d attempts.", item.kind, item.id, ATTEMPTS)
        _finish(item)
        return
    try:
        _handlers[item.kind](**item.payload)
    except Exception:  # noqa: BLE001  # each job fails in its own way
        db.session.rollback()
        delay = _backoff(item.attempts)
        _log.warning(
            "Job %s %d failed, attempt %d; it is tried again in %d s.",
            item.kind,
            item.id,
            item.attempts,
            delay.total_seconds(),
            exc_info=True,
        )
        _postpone(item, delay)
    else:
        _finish(item)


def _backoff(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts; by chance, or all would return together."""
    wait = min(FIRST * (1 << (attempts - 1)), LONGEST)
    return wait * random.uniform(0.5, 1)  # noqa: S311  # spreads load, keeps no secret


def _finish(item: Claim) -> None:
    _of(delete(OutboxItem), item)


def _postpone(item: Claim, delay: timedelta) -> None:
    _of(update(OutboxItem).values(due_at=clock.now() + delay), item)


def _of(write: Any, item: Claim) -> None:
    """Write to an item that we still hold: one whose lease ran out is another's by now."""
    held = (OutboxItem.id == item.id, OutboxItem.attempts == item.attempts)
    db.session.execute(write.where(*held).execution_options(synchronize_session=False))
    commit()


def init_app(app: Flask) -> None:
    app.extensions["outbox"] = Event()
