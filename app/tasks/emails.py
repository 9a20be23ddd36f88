"""Emails about tasks: enqueued in the transaction of a service, sent after its commit."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from flask import current_app
from sqlalchemy import ColumnElement, Row, func, select

from app import clock
from app.auth import permissions as auth_policy
from app.auth.models import Actor, User
from app.extensions import db
from app.mail import sender
from app.mail.sender import can_send
from app.outbox.leases import message_reference
from app.outbox.queue import enqueue, enqueue_all, handler
from app.tasks.models import TERMINAL_STATUSES, Task, due_moment


class TaskEmail(StrEnum):
    """Emails about tasks; the value is the name of the template and of the outbox message."""

    tasks_created = "tasks_created"
    task_due = "task_due"


def notifies_on_create(actor: Actor) -> bool:
    """Return whether the actor gets an email about the tasks that it creates."""
    return actor.notified_on_create and can_send()


def notify_created(actor: Actor, task_ids: Sequence[int]) -> None:
    """Enqueue one email about new tasks, if their creator asked for that."""
    if notifies_on_create(actor):
        enqueue(TaskEmail.tasks_created, task_ids=list(task_ids))


def notify_due(task_ids: Iterable[int]) -> None:
    """Enqueue an email for the owner of each of these tasks."""
    if can_send():
        enqueue_all(TaskEmail.task_due, ({"task_id": task_id} for task_id in task_ids))


@handler(TaskEmail.tasks_created)
def _send_created(task_ids: list[int]) -> None:
    tasks = _read(task_ids, auth_policy.NOTIFIED_ON_CREATE)
    if tasks:
        _send(TaskEmail.tasks_created, tasks)


@handler(TaskEmail.task_due)
def _send_due(task_id: int) -> None:
    is_open = Task.status.not_in(TERMINAL_STATUSES)
    tasks = _read([task_id], auth_policy.NOTIFIED_WHEN_DUE, is_open)
    # The task may have been postponed in the meantime.
    due = [
        task
        for task in tasks
        if (moment := due_moment(task.due_date, task.due_at, task.zone)) and moment <= clock.now()
    ]
    if due:
        _send(TaskEmail.task_due, due)


def _read(
    task_ids: Iterable[int], *conditions: ColumnElement[bool]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return tasks of one user, with the address of the user."""
    zone = func.coalesce(Task.time_zone, User.time_zone).label("zone")
    return db.session.execute(
        select(User.email, User.username, Task.id, Task.title, Task.due_date, Task.due_at, zone)
        .join_from(Task, Task.creator)
        .where(Task.id.in_(task_ids), *conditions)
        .order_by(Task.id)
    ).all()


def _send(template: str, tasks: Sequence[Row[*tuple[Any, ...]]]) -> None:
    sender.send(
        template,
        tasks[0].email,
        reference=message_reference(),
        username=tasks[0].username,
        tasks=[
            {
                # A subject can't have line breaks.
                "title": " ".join(task.title.split()),
                "due": _format_due(task),
                "link": _link(task.id),
            }
            for task in tasks
        ],
        call=f"{current_app.config['PUBLIC_URL']}/api/v1/auth/me",
    )


def _format_due(task: Row[*tuple[Any, ...]]) -> str | None:
    """Return when a task is due, in its time zone."""
    if task.due_date is not None:
        return f"{_format_date(task.due_date)} ({task.zone})"
    if task.due_at is None:
        return None
    try:
        local, zone = task.due_at.astimezone(ZoneInfo(task.zone)), task.zone
    except OverflowError:  # on the first and last day of the calendar
        local, zone = task.due_at.astimezone(UTC), "UTC"
    return f"{_format_date(local)}, {local:%H:%M} ({zone})"


def _format_date(day: date | datetime) -> str:
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


def _link(task_id: int) -> str:
    """Return the URL of a task in the front end, or else in the API."""
    app_url, api_url = current_app.config["APP_URL"], current_app.config["PUBLIC_URL"]
    return f"{app_url}/tasks/{task_id}" if app_url else f"{api_url}/api/v1/tasks/{task_id}"
