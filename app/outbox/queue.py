"""Handlers of outbox messages, and the functions that enqueue messages for them.

A message is stored in the transaction of the change that causes it: both are committed, or neither.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from threading import Event
from typing import Any, NamedTuple

from sqlalchemy import insert

from app import clock
from app.db.transactions import after_commit
from app.extensions import db
from app.outbox.models import OutboxMessage
from app.request_context import request_context

HandlerFunction = Callable[..., None]


class Handler(NamedTuple):
    """The functions for one type of message."""

    handle: HandlerFunction
    on_failure: HandlerFunction | None = None


handlers: dict[str, Handler] = {}
# Set when this process has committed new messages.
new_messages = Event()


def handler(
    message_type: str, *, on_failure: HandlerFunction | None = None
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Register a function that handles messages of one type.

    It gets the payload as keyword arguments. The dispatcher commits what it writes; a long one
    calls ``renew_lease()`` and commits on its way. One that sends something commits what that needs
    first, and writes nothing after it. If it raises, its uncommitted changes are rolled back and it
    is retried later; ``on_failure`` is then called with ``final`` and the payload, in the
    transaction that schedules the retry or marks the message dead.
    """

    def decorator(function: HandlerFunction) -> HandlerFunction:
        handlers[message_type] = Handler(function, on_failure)
        return function

    return decorator


def enqueue(message_type: str, **payload: Any) -> None:
    """Add a message to the current transaction; it is handled soon after the commit.

    Its log lines and audit events carry the id of the current request.
    """
    enqueue_all(message_type, [payload])


def enqueue_all(message_type: str, payloads: Iterable[Mapping[str, Any]]) -> None:
    """Add a message for each payload, by one statement."""
    if message_type not in handlers:
        raise LookupError(f"There is no handler for {message_type}.")
    now = clock.now()
    origin = asdict(request_context().sanitized())
    del origin["queries"]
    common = {"type": message_type, "origin": origin, "created_at": now, "due_at": now}
    rows = [{**common, "payload": payload, "attempts": 0} for payload in payloads]
    if rows:
        db.session.execute(insert(OutboxMessage), rows)
        after_commit(new_messages.set)
