"""Dispatcher of outbox messages: runs handlers, retries them, and gives up after many attempts.

What a handler writes is committed together with the removal of its message, so it takes effect
once. What it sends may be sent twice: a crash after sending leads to another attempt.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from enum import StrEnum
from functools import partial

from flask import Flask, current_app
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.db.transactions import commit
from app.extensions import db
from app.observability import metrics
from app.outbox import leases
from app.outbox.leases import LeasedMessage, LeaseLost, current_message
from app.outbox.queue import handlers
from app.request_context import RequestContext, request_context, use_context

# The delay after the first failure; it doubles with each, up to MAX_DELAY.
FIRST_DELAY = timedelta(seconds=10)
MAX_DELAY = timedelta(hours=1)
# With these delays, about three hours.
MAX_ATTEMPTS = 13


class Outcome(StrEnum):
    """Result of an attempt; ``skipped`` if another process has the message."""

    done = "done"
    postponed = "postponed"
    dead = "dead"
    skipped = "skipped"


LEVELS = {Outcome.postponed: logging.WARNING, Outcome.dead: logging.ERROR}

Result = tuple[Outcome, Exception | None]
Attempt = Callable[[LeasedMessage], Result]


class WorkerCrashed(Exception):
    """Every process that handled the message ended before it was done."""


_log = logging.getLogger(__name__)


def dispatch_next() -> bool:
    """Handle the message that has been due longest; return whether there was one."""
    message = leases.lease_due()
    if message is not None:
        _dispatch(message)
    return message is not None


def dispatch_sent(message_id: int, attempts: int) -> Outcome:
    """Handle a message that the broker delivered, perhaps late or twice."""
    message = leases.lease_sent(message_id, attempts)
    return Outcome.skipped if message is None else _dispatch(message)


def _dispatch(message: LeasedMessage) -> Outcome:
    """Make an attempt with a new session and the context of the request that caused it."""
    started = time.perf_counter()
    db.session.remove()
    token = current_message.set(message)
    attempt: Attempt = _attempt
    for wrapper in current_app.extensions["outbox_wrappers"]:
        attempt = partial(wrapper, attempt)
    try:
        with use_context(_origin(message)):
            outcome, error = attempt(message)
            _record(message, outcome, error, time.perf_counter() - started)
        return outcome
    finally:
        current_message.reset(token)
        db.session.remove()


def _origin(message: LeasedMessage) -> RequestContext:
    """Return the stored context, without fields that only another release knows."""
    known = {field.name for field in fields(RequestContext)}
    origin = message.origin or {}
    return RequestContext(**{name: value for name, value in origin.items() if name in known})


def _attempt(message: LeasedMessage) -> Result:
    try:
        error = _handle(message)
        return (_record_failure(message, error) if error else Outcome.done), error
    except LeaseLost:
        _roll_back()
        return Outcome.skipped, None


def _handle(message: LeasedMessage) -> Exception | None:
    """Run the handler and commit, or return what it raised."""
    if message.attempts > MAX_ATTEMPTS:
        return WorkerCrashed()
    try:
        handlers[message.type].handle(**message.payload)
        leases.complete(message)
        commit()
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001  # handlers may raise anything
        _roll_back()
        return error
    return None


def _record_failure(message: LeasedMessage, error: Exception) -> Outcome:
    """Schedule a retry or mark the message dead, even if the failure callback fails."""
    final = message.attempts >= MAX_ATTEMPTS
    registered = handlers.get(message.type)
    try:
        _release(message, error, final=final)
        if registered is not None and registered.on_failure is not None:
            registered.on_failure(final=final, **message.payload)
        commit()
    except LeaseLost:
        raise
    except Exception:  # noqa: BLE001  # callbacks may raise anything
        _log.exception("The failure callback of %s %d failed.", message.type, message.id)
        _roll_back()
        _release(message, error, final=final)
        commit()
    return Outcome.dead if final else Outcome.postponed


def _release(message: LeasedMessage, error: Exception, *, final: bool) -> None:
    # Only the type of the error: its text may contain user data.
    name = type(error).__name__[:100]
    now = clock.now()
    values = {"failed_at": now} if final else {"due_at": now + _backoff(message.attempts)}
    leases.release(message, name, **values)


def _roll_back() -> None:
    """Roll back; a connection that was interrupted within a statement cannot, and is closed."""
    try:
        db.session.rollback()
    except SQLAlchemyError:
        db.session().invalidate()
    db.session.remove()


def _backoff(attempts: int) -> timedelta:
    """Return the delay after so many attempts, with jitter so that retries spread out."""
    delay = min(FIRST_DELAY * (1 << (attempts - 1)), MAX_DELAY)
    return delay * random.uniform(0.5, 1)  # noqa: S311  # spreads load, keeps no secret


def _record(
    message: LeasedMessage, outcome: Outcome, error: Exception | None, seconds: float
) -> None:
    """Log and count an attempt."""
    metrics.OUTBOX_MESSAGES.labels(message.type, str(outcome)).inc()
    extra = {
        "message_type": message.type,
        "message_id": message.id,
        "attempt": message.attempts,
        "outcome": str(outcome),
        "duration_ms": round(seconds * 1000, 2),
        "queries": request_context().queries,
    }
    level = LEVELS.get(outcome, logging.INFO)
    args = (message.type, message.id, message.attempts, outcome)
    _log.log(level, "Message %s %d, attempt %d: %s.", *args, extra=extra, exc_info=error)


def init_app(app: Flask) -> None:
    """Create the list of functions that wrap each attempt, for traces and error reports."""
    app.extensions["outbox_wrappers"] = []
