"""The outbox: work that is handed over in one transaction, and done after it.

What is enqueued is kept with the effect that causes it, or not at all, and a crash loses nothing:
what is claimed and not finished within LEASE is tried again. What a job writes is committed with
the end of its item, by whoever still has that, so it is there once; what it sends may be sent
twice.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from datetime import timedelta
from enum import StrEnum
from functools import partial
from threading import Event
from typing import Any

from flask import Flask, current_app
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError

from app import clock, metrics
from app.extensions import db
from app.origin import Origin, coming_from, origin
from app.outbox import items
from app.outbox.items import Claim, Superseded
from app.outbox.models import OutboxItem
from app.transactions import after_commit, commit

Handler = Callable[..., None]

# The wait after the first failure; it doubles with each, up to LONGEST.
FIRST = timedelta(seconds=10)
LONGEST = timedelta(hours=1)
# With these waits, some three hours.
ATTEMPTS = 13


class Outcome(StrEnum):
    """How an attempt ended; what another has, or has ended, is passed by."""

    done = "done"
    postponed = "postponed"
    given_up = "given up"
    passed_by = "passed by"


LEVELS = {
    Outcome.done: logging.INFO,
    Outcome.postponed: logging.WARNING,
    Outcome.given_up: logging.ERROR,
    Outcome.passed_by: logging.INFO,
}


Ended = tuple[Outcome, Exception | None]
Attempt = Callable[[Claim], Ended]


class ProcessLost(Exception):
    """Every process that tried it ended on the way."""


_handlers: dict[str, Handler] = {}
_on_failure: dict[str, Handler] = {}
_log = logging.getLogger(__name__)


def job(kind: str, *, on_failure: Handler | None = None) -> Callable[[Handler], Handler]:
    """Have a function do the work of one kind; it gets the payload as keyword arguments.

    Its commit is the outbox's. One that takes long commits on its way, after ``extend``; one that
    sends commits what that needs first, and writes nothing after. Whatever it raises, what it has
    not committed is taken back and it is tried again later; ``on_failure`` is called with
    ``final`` and the payload, in the transaction that puts the item off or at last gives it up.
    """

    def decorator(handler: Handler) -> Handler:
        _handlers[kind] = handler
        if on_failure is not None:
            _on_failure[kind] = on_failure
        return handler

    return decorator


def enqueue(kind: str, **payload: Any) -> None:
    """Add work to the transaction at hand; it is done soon after the commit.

    It is done in the name of the request at hand: its log lines and events carry that one's id.
    """
    enqueue_all(kind, [payload])


def enqueue_all(kind: str, payloads: Iterable[Mapping[str, Any]]) -> None:
    """Add a piece of work for each payload, by one statement."""
    if kind not in _handlers:
        raise LookupError(f"There is no job called {kind}.")
    now = clock.now()
    came_from = asdict(origin().tidied())
    del came_from["queries"]
    common = {
        "kind": kind,
        "origin": came_from,
        "attempts": 0,
        "created_at": now,
        "due_at": now,
    }
    rows = [{**common, "payload": payload} for payload in payloads]
    if rows:
        db.session.execute(insert(OutboxItem), rows)
        after_commit(enqueued().set)


def enqueued() -> Event:
    """Return what is set when this process has enqueued something."""
    event: Event = current_app.extensions["outbox"]
    return event


def extend() -> None:
    """Keep the item at hand for another LEASE, in the transaction at hand.

    A long job calls this in each of its own transactions, so that only who still has the item
    commits one. Raises Superseded where another has it, LookupError outside a job.
    """
    items.extend(items.at_hand.get())


def reference() -> str:
    """Name the item at hand: alike at each attempt, and unlike any other's, of any database.

    Raises LookupError outside a job.
    """
    item = items.at_hand.get()
    return f"{item.created_at:%Y%m%d.%H%M%S.%f}.{item.id}"


def drain() -> int:
    """Do all that is due, and return how many items were tried."""
    tried = 0
    while do_next():
        tried += 1
    return tried


def do_next() -> bool:
    """Do what has been due longest, or try to; tell whether there was anything."""
    item = items.claim_due()
    if item is not None:
        _do(item)
    return item is not None


def do_sent(item_id: int, attempts: int) -> Outcome:
    """Do the item of a message, which may come twice or late."""
    item = items.claim_sent(item_id, attempts)
    return Outcome.passed_by if item is None else _do(item)


def _do(item: Claim) -> Outcome:
    """Make an attempt, with a session of its own and in the name of who caused it."""
    began = time.perf_counter()
    db.session.remove()
    token = items.at_hand.set(item)
    try:
        with coming_from(_origin_of(item)):
            outcome, error = _watched_attempt(item)
            _tell(item, outcome, error, time.perf_counter() - began)
        return outcome
    finally:
        items.at_hand.reset(token)
        db.session.remove()


def _origin_of(item: Claim) -> Origin:
    """Return who caused an item, as far as this release knows what another has stored."""
    known = {field.name for field in fields(Origin)}
    return Origin(**{name: told for name, told in (item.origin or {}).items() if name in known})


def _watched_attempt(item: Claim) -> Ended:
    """Make an attempt within what is to stand around each, such as a span."""
    attempt: Attempt = _attempt
    for around in current_app.extensions["around_jobs"]:
        attempt = partial(around, attempt)
    return attempt(item)


def _attempt(item: Claim) -> Ended:
    try:
        error = _failure_of(item)
        return (_fail(item, error) if error else Outcome.done), error
    except Superseded:
        _take_back()
        return Outcome.passed_by, None


def _failure_of(item: Claim) -> Exception | None:
    """Do what an item asks for and commit that with its end, or return what went wrong."""
    if item.attempts > ATTEMPTS:
        return ProcessLost()
    try:
        _handlers[item.kind](**item.payload)
        items.end(item)
        commit()
    except Superseded:
        raise
    except Exception as error:  # noqa: BLE001  # each job fails in its own way
        _take_back()
        return error
    return None


def _fail(item: Claim, error: Exception) -> Outcome:
    """Put an item off or give it up, and have that told; who can't be told stops neither."""
    final = item.attempts >= ATTEMPTS
    try:
        _note(item, error, final=final)
        if told := _on_failure.get(item.kind):
            told(final=final, **item.payload)
        commit()
    except Superseded:
        raise
    except Exception:  # noqa: BLE001  # each fails in its own way
        _log.exception("Job %s %d failed, and so did telling of it.", item.kind, item.id)
        _take_back()
        _note(item, error, final=final)
        commit()
    return Outcome.given_up if final else Outcome.postponed


def _note(item: Claim, error: Exception, *, final: bool) -> None:
    # Of the error only its type: what it says may hold what users wrote.
    name = type(error).__name__[:100]
    if final:
        items.give_up(item, name)
    else:
        items.put_off(item, name, clock.now() + _backoff(item.attempts))


def _take_back() -> None:
    """Roll back; a connection that was left in the middle of a statement can't, and is closed."""
    try:
        db.session.rollback()
    except SQLAlchemyError:
        db.session().invalidate()
    db.session.remove()


def _backoff(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts; by chance, or all would return together."""
    wait = min(FIRST * (1 << (attempts - 1)), LONGEST)
    return wait * random.uniform(0.5, 1)  # noqa: S311  # spreads load, keeps no secret


def _tell(item: Claim, outcome: Outcome, error: Exception | None, seconds: float) -> None:
    """Log how an attempt ended, and count it."""
    metrics.JOBS.labels(item.kind, str(outcome)).inc()
    told = {
        "kind": item.kind,
        "item": item.id,
        "attempt": item.attempts,
        "outcome": str(outcome),
        "duration_ms": round(seconds * 1000, 2),
        "queries": origin().queries,
    }
    line = "Job %s %d, attempt %d: %s."
    said = (item.kind, item.id, item.attempts, outcome)
    _log.log(LEVELS[outcome], line, *said, extra=told, exc_info=error)


def init_app(app: Flask) -> None:
    app.extensions["outbox"] = Event()
    app.extensions["around_jobs"] = []
