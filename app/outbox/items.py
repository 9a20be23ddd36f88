"""The items of the outbox: taken by one process at a time, and written to by who has them."""

from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, or_, select, update

from app import clock
from app.extensions import db
from app.outbox.models import OutboxItem
from app.transactions import commit

# How long a claim holds. A job that may take longer extends it.
LEASE = timedelta(minutes=1)


class Claim(NamedTuple):
    """An item that is ours to do, until its lease runs out; this is attempt ``attempts``."""

    id: int
    kind: str
    payload: dict[str, Any]
    origin: dict[str, Any] | None
    attempts: int
    created_at: datetime


class Superseded(Exception):
    """Another has taken over the item at hand: nothing of this attempt may be kept."""


at_hand: ContextVar[Claim] = ContextVar("item")


def free(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What holds of an item that nobody is at, and that was not given up."""
    nobodys = or_(OutboxItem.held_until.is_(None), OutboxItem.held_until <= now)
    return OutboxItem.failed_at.is_(None), nobodys


def claim_due() -> Claim | None:
    """Take the item that has been due longest, if there is one."""
    return _claim(OutboxItem.due_at <= clock.now())


def claim_sent(item_id: int, attempts: int) -> Claim | None:
    """Take the item of a message, unless it is at hand or has been tried since that was sent."""
    return _claim(OutboxItem.id == item_id, OutboxItem.attempts == attempts)


def extend(item: Claim) -> None:
    """Keep an item for another LEASE. Raises Superseded."""
    _write(update(OutboxItem).values(held_until=clock.now() + LEASE), item)


def end(item: Claim) -> None:
    """Have an item no longer. Raises Superseded."""
    _write(delete(OutboxItem), item)


def put_off(item: Claim, error: str, until: datetime) -> None:
    """Let an item wait for its next attempt. Raises Superseded."""
    _write(update(OutboxItem).values(held_until=None, error=error, due_at=until), item)


def give_up(item: Claim, error: str) -> None:
    """Have an item tried no more; it stays for an operator to see. Raises Superseded."""
    _write(update(OutboxItem).values(held_until=None, error=error, failed_at=clock.now()), item)


def _claim(*wanted: ColumnElement[bool]) -> Claim | None:
    """Take an item by one statement that no other waits for."""
    now = clock.now()
    longest_due = (
        select(OutboxItem.id)
        .where(*free(now), *wanted)
        .order_by(OutboxItem.due_at, OutboxItem.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = db.session.execute(
        update(OutboxItem)
        .where(OutboxItem.id == longest_due.scalar_subquery())
        .values(held_until=now + LEASE, attempts=OutboxItem.attempts + 1)
        .returning(*(getattr(OutboxItem, name) for name in Claim._fields))
        .execution_options(synchronize_session=False)
    ).first()
    return commit(Claim(*taken) if taken else None)


def _write(write: Any, item: Claim) -> None:
    """Write to an item that is still ours: one whose lease ran out may be another's by now."""
    ours = (OutboxItem.id == item.id, OutboxItem.attempts == item.attempts)
    written: Any = db.session.execute(
        write.where(*ours).execution_options(synchronize_session=False)
    )
    if written.rowcount == 0:
        raise Superseded
