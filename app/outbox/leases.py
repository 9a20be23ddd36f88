"""Leases of outbox messages: each message is handled by one process at a time."""

from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Update, delete, or_, select, update

from app import clock
from app.db.transactions import commit
from app.extensions import db
from app.outbox.models import OutboxMessage

# A handler that may take longer renews its lease.
LEASE = timedelta(minutes=1)


class LeasedMessage(NamedTuple):
    """A message that this process handles; ``attempts`` counts this attempt too."""

    id: int
    type: str
    payload: dict[str, Any]
    origin: dict[str, Any] | None
    attempts: int
    created_at: datetime


class LeaseLost(Exception):
    """The lease expired and another process has the message: roll this attempt back."""


current_message: ContextVar[LeasedMessage] = ContextVar("current_message")


def is_available(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for messages that are neither dead nor leased."""
    unlocked = or_(OutboxMessage.locked_until.is_(None), OutboxMessage.locked_until <= now)
    return OutboxMessage.failed_at.is_(None), unlocked


def update_available(limit: int, *conditions: ColumnElement[bool]) -> Update:
    """Return an update of the available messages that have been due longest.

    It skips the messages that other processes are updating instead of waiting for them.
    """
    oldest = (
        select(OutboxMessage.id)
        .where(*is_available(clock.now()), *conditions)
        .order_by(OutboxMessage.due_at, OutboxMessage.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("oldest")
    )
    statement = update(OutboxMessage).where(OutboxMessage.id.in_(select(oldest.c.id)))
    return statement.execution_options(synchronize_session=False)


def lease_due() -> LeasedMessage | None:
    """Lease the message that has been due longest, if any."""
    return _lease(OutboxMessage.due_at <= clock.now())


def lease_sent(message_id: int, attempts: int) -> LeasedMessage | None:
    """Lease a message, unless it is leased or was attempted since it was sent to the broker."""
    return _lease(OutboxMessage.id == message_id, OutboxMessage.attempts == attempts)


def renew_lease() -> None:
    """Extend the lease of the current message, in the current transaction.

    A long handler calls this in each of its transactions, so that it commits only while it has the
    lease. Raises LeaseLost, or LookupError outside a handler.
    """
    _write(update(OutboxMessage).values(locked_until=clock.now() + LEASE), current_message.get())


def message_reference() -> str:
    """Return an identifier of the current message that is the same for each attempt.

    It is unique across databases. Raises LookupError outside a handler.
    """
    message = current_message.get()
    return f"{message.created_at:%Y%m%d.%H%M%S.%f}.{message.id}"


def complete(message: LeasedMessage) -> None:
    """Delete a message that was handled. Raises LeaseLost."""
    _write(delete(OutboxMessage), message)


def release(message: LeasedMessage, error: str, **values: datetime) -> None:
    """Set ``due_at`` for another attempt, or ``failed_at`` for none. Raises LeaseLost."""
    _write(update(OutboxMessage).values(locked_until=None, error=error, **values), message)


def _lease(*conditions: ColumnElement[bool]) -> LeasedMessage | None:
    values = {"locked_until": clock.now() + LEASE, "attempts": OutboxMessage.attempts + 1}
    columns = [getattr(OutboxMessage, name) for name in LeasedMessage._fields]
    statement = update_available(1, *conditions).values(values).returning(*columns)
    row = db.session.execute(statement).first()
    return commit(LeasedMessage(*row) if row else None)


def _write(statement: Any, message: LeasedMessage) -> None:
    """Write to a message if no other process has leased it since."""
    ours = (OutboxMessage.id == message.id, OutboxMessage.attempts == message.attempts)
    if db.session.connection().execute(statement.where(*ours)).rowcount == 0:
        raise LeaseLost
