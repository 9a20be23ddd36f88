"""Reminders: one email to the owner of a task when it is due.

``Task.remind_at`` is when to check a task. Whether it is due then depends on the owner's time zone
at that moment.
"""

from datetime import timedelta

from flask import Flask
from sqlalchemy import Table, bindparam, func, null, select, update

from app import clock
from app.auth.models import User
from app.auth.permissions import NOTIFIED_WHEN_DUE
from app.db.engine import for_key_share
from app.db.transactions import commit
from app.extensions import db
from app.outbox.queue import handler
from app.outbox.schedule import periodic
from app.tasks import emails
from app.tasks.models import Task, due_moment, future_or_none

INTERVAL = timedelta(minutes=1)
# Tasks of one transaction.
BATCH_SIZE = 500
# In every time zone the reminder of a date is less than this after the date's beginning in UTC.
MAX_MORNING_DELAY = timedelta(days=1)

TABLE: Table = Task.metadata.tables["tasks"]
# A CTE, so that the tasks are found by their index before the users are joined.
_candidates = (
    select(Task.id, Task.due_date, Task.due_at, Task.time_zone, Task.created_by)
    .where(Task.remind_at <= bindparam("now"))
    .order_by(Task.remind_at)
    .limit(bindparam("batch_size"))
    .with_for_update(skip_locked=True)
    .cte("candidates")
)
CANDIDATES = (
    select(
        _candidates.c.id,
        _candidates.c.due_date,
        _candidates.c.due_at,
        func.coalesce(_candidates.c.time_zone, User.time_zone).label("zone"),
        NOTIFIED_WHEN_DUE,
    )
    .join_from(_candidates, User, User.id == _candidates.c.created_by)
    .execution_options(locks_rows=True)
)
# Reminders are not visible to clients: the version of the task stays.
CLEAR = (
    update(TABLE)
    .where(TABLE.c.id.in_(bindparam("task_ids", expanding=True)))
    .values(remind_at=null())
)
POSTPONE = (
    update(TABLE).where(TABLE.c.id == bindparam("task_id")).values(remind_at=bindparam("moment"))
)


def send_reminders() -> int:
    """Enqueue the reminders of all due tasks; return the number of tasks that were checked.

    Concurrent runs process each task once.
    """
    total = 0
    while count := _process_batch():
        total += count
    return total


def _process_batch() -> int:
    """Process the tasks that have waited longest and are not locked, in one transaction."""
    now = clock.now()
    tasks = db.session.execute(CANDIDATES, {"now": now, "batch_size": BATCH_SIZE}).all()
    # Their reminder is later in the current time zone of their owner.
    postponed = [
        {"task_id": task.id, "moment": moment}
        for task in tasks
        if (moment := future_or_none(due_moment(task.due_date, task.due_at, task.zone), now))
    ]
    postponed_ids = {row["task_id"] for row in postponed}
    due = [task for task in tasks if task.id not in postponed_ids]
    if postponed:
        db.session.execute(POSTPONE, postponed)
    if due:
        db.session.execute(CLEAR, {"task_ids": [task.id for task in due]})
    emails.notify_due(task.id for task in due if task.notified_when_due)
    return commit(len(tasks))


@handler("time_zone_changed")
def _check_again(user_id: int) -> None:
    """Check the due dates of a user again after a change of its time zone."""
    now = clock.now()
    db.session.execute(for_key_share(select(User.id).where(User.id == user_id)))
    affected = (
        select(Task.id)
        .where(
            Task.created_by == user_id,
            Task.due_key > now - MAX_MORNING_DELAY,
            Task.due_date.is_not(None),
            Task.time_zone.is_(None),
            Task.remind_at.is_not(None),
        )
        .order_by(Task.id)
        .with_for_update()
    )
    db.session.execute(update(TABLE).where(TABLE.c.id.in_(affected)).values(remind_at=now))


def init_app(_app: Flask) -> None:
    periodic(every=INTERVAL)(send_reminders)
