"""Reminders: each task's owner is mailed once, at the moment in its zone or else in the owner's.

``Task.remind_at`` is when to look: whether the moment has come is judged then, by the owner's zone
as it is.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import Row, Table, bindparam, func, null, select, update

from app import clock
from app.auth.models import User
from app.auth.policy import NOTIFIED_WHEN_DUE
from app.extensions import db
from app.outbox.schedule import periodic
from app.outbox.work import job
from app.tasks import mails
from app.tasks.models import Task, due_moment, if_ahead
from app.transactions import commit

EVERY = timedelta(minutes=1)
# How many tasks a transaction settles.
CHUNK = 500
# No morning is later than this after its day has begun in UTC.
LATEST_MORNING = timedelta(days=1)

TABLE: Table = Task.metadata.tables["tasks"]
# Found first, by their index, and then whose they are.
_awaited = (
    select(Task.id, Task.due_date, Task.due_at, Task.time_zone, Task.created_by)
    .where(Task.remind_at <= bindparam("now"))
    .order_by(Task.remind_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("awaited")
)
AWAITED = (
    select(
        _awaited.c.id,
        _awaited.c.due_date,
        _awaited.c.due_at,
        func.coalesce(_awaited.c.time_zone, User.time_zone).label("zone"),
        NOTIFIED_WHEN_DUE,
    )
    .join_from(_awaited, User, User.id == _awaited.c.created_by)
    .execution_options(locks_rows=True)
)
# Neither counts as a change of the task: its version stays.
CLEAR = (
    update(TABLE)
    .where(TABLE.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(remind_at=null())
)
MOVE = update(TABLE).where(TABLE.c.id == bindparam("task_id")).values(remind_at=bindparam("moment"))


def send_reminders() -> int:
    """Have owners reminded of what has come due, and return how many tasks were looked at.

    However many do this at once, each task is settled by one of them.
    """
    settled = 0
    while count := _settle_some():
        settled += count
    return settled


def _settle_some() -> int:
    """Settle the tasks whose time has come longest and nobody else is at, in one transaction."""
    now = clock.now()
    found = db.session.execute(AWAITED, {"now": now, "most": CHUNK}).all()
    later = list(_later(found, now))
    moved = {row["task_id"] for row in later}
    due = [row for row in found if row.id not in moved]
    if later:
        db.session.execute(MOVE, later)
    if due:
        db.session.execute(CLEAR, {"task_ids": [row.id for row in due]})
    mails.remind(row.id for row in due if row.notified_when_due)
    return commit(len(found))


def _later(found: Iterable[Row[*tuple[Any, ...]]], now: datetime) -> Iterator[dict[str, Any]]:
    """Yield those whose moment is yet to come, in the zone that their owner is in now."""
    for row in found:
        if moment := if_ahead(due_moment(row.due_date, row.due_at, row.zone), now):
            yield {"task_id": row.id, "moment": moment}


@job("time_zone_changed")
def _look_again(user_id: int) -> None:
    """Have the days that an account awaits judged anew: they were those of another zone."""
    now = clock.now()
    of_its_zone = (
        select(Task.id)
        .where(
            Task.created_by == user_id,
            Task.due_key > now - LATEST_MORNING,
            Task.due_date.is_not(None),
            Task.time_zone.is_(None),
            Task.remind_at.is_not(None),
        )
        .order_by(Task.id)
        .with_for_update()
    )
    db.session.execute(update(TABLE).where(TABLE.c.id.in_(of_its_zone)).values(remind_at=now))


def init_app(_app: Flask) -> None:
    periodic(every=EVERY)(send_reminders)
