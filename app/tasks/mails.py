"""The mails of tasks: asked for in the transaction of a service, sent after its commit."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flask import current_app
from sqlalchemy import ColumnElement, Row, func, select

from app import clock
from app.auth import policy as auth_policy
from app.auth.models import Actor, User
from app.extensions import db
from app.mail import letters
from app.mail.letters import can_send
from app.outbox import work
from app.outbox.work import enqueue, enqueue_all, job
from app.tasks.models import CLOSED, Task, due_moment


class TaskMail(StrEnum):
    """What is told of tasks: its value names the template, and the job that sends it."""

    tasks_created = "tasks_created"
    task_due = "task_due"


class Told(NamedTuple):
    """What a mail tells of a task."""

    title: str
    due: str | None
    link: str


def confirms(actor: Actor) -> bool:
    """Tell whether what an actor creates is confirmed to it."""
    return actor.notified_on_create and can_send()


def confirm(actor: Actor, task_ids: Sequence[int]) -> None:
    """Mail whoever asked for that what it creates in the transaction at hand: one mail for all."""
    if confirms(actor):
        enqueue(TaskMail.tasks_created, task_ids=task_ids)


def remind(task_ids: Iterable[int]) -> None:
    """Mail the owner of each of these tasks that it is due, in the transaction at hand."""
    if can_send():
        enqueue_all(TaskMail.task_due, ({"task_id": task_id} for task_id in task_ids))


@job(TaskMail.tasks_created)
def _send_created(task_ids: list[int]) -> None:
    found = _read(task_ids, auth_policy.NOTIFIED_ON_CREATE)
    if found:
        _send(TaskMail.tasks_created, found)


@job(TaskMail.task_due)
def _send_due(task_id: int) -> None:
    # What was put off or done meanwhile is not due any more.
    found = [
        row
        for row in _read([task_id], auth_policy.NOTIFIED_WHEN_DUE, Task.status.not_in(CLOSED))
        if (moment := due_moment(row.due_date, row.due_at, row.zone)) and moment <= clock.now()
    ]
    if found:
        _send(TaskMail.task_due, found)


def _read(task_ids: Iterable[int], *wanted: ColumnElement[bool]) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return tasks of one owner, and where it is mailed, as they are now."""
    zone = func.coalesce(Task.time_zone, User.time_zone).label("zone")
    return db.session.execute(
        select(User.email, User.username, Task.id, Task.title, Task.due_date, Task.due_at, zone)
        .join_from(Task, User)
        .where(Task.id.in_(task_ids), *wanted)
        .order_by(Task.id)
    ).all()


def _send(template: str, found: Sequence[Row[*tuple[Any, ...]]]) -> None:
    letters.send(
        template,
        found[0].email,
        reference=work.reference(),
        username=found[0].username,
        tasks=[Told(_line(row.title), _due(row), _link(row.id)) for row in found],
        call=f"{current_app.config['PUBLIC_URL']}/api/v1/auth/me",
    )


def _line(title: str) -> str:
    """Return a title in one line, as a subject has to be."""
    return " ".join(title.split())


def _due(row: Row[*tuple[Any, ...]]) -> str | None:
    """Tell when a task is due, by the clocks of its zone."""
    if row.due_date is not None:
        return f"{_day(row.due_date)} ({row.zone})"
    if row.due_at is None:
        return None
    try:
        local, zone = row.due_at.astimezone(ZoneInfo(row.zone)), row.zone
    except OverflowError:  # on the calendar's first and last day
        local, zone = row.due_at.astimezone(UTC), "UTC"
    return f"{_day(local)}, {local:%H:%M} ({zone})"


def _day(day: date | datetime) -> str:
    return f"{day:%A}, {day.day} {day:%B} {day.year}"


def _link(task_id: int) -> str:
    """Return the page of a task, where there is a front end, or else its address."""
    app_url, api_url = current_app.config["APP_URL"], current_app.config["PUBLIC_URL"]
    return f"{app_url}/tasks/{task_id}" if app_url else f"{api_url}/api/v1/tasks/{task_id}"
