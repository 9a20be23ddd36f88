"""The rules of tasks."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, func, select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth.models import Actor
from app.errors import NotFound
from app.extensions import db
from app.http.conditional import Versions
from app.http.output import Row
from app.http.pages import Page
from app.tasks import policy, positions
from app.tasks.listing import TASKS, filter_values
from app.tasks.models import Task, task_values
from app.tasks.schemas import TASK
from app.tasks.search import listed_words
from app.transactions import commit

_one = (Task.id == bindparam("task_id"), policy.VISIBLE)
READ = select(*TASK.columns).where(*_one)
LOCK = select(Task).where(*_one).with_for_update().execution_options(locks_rows=True)
LAST_POSITION = select(func.max(Task.position)).where(Task.created_by == bindparam("actor_id"))


def list_tasks(
    actor: Actor,
    *,
    filters: Mapping[str, Any],
    sort: str,
    owner_id: int | None,
    limit: int,
    cursor: str | None,
) -> Page:
    """Return a page of the actor's tasks, or of those of ``owner_id`` that it may see.

    Raises InvalidCursor for a cursor of another list.
    """
    values = {
        **policy.listed_for(actor, owner_id),
        **filter_values(filters, actor.time_zone, clock.now()),
    }
    return TASKS.page(
        values=values,
        filters=filters.keys() - {"q"},
        words=listed_words(values["owner_id"], filters.get("q", "")),
        sort=sort,
        limit=limit,
        cursor=cursor,
        bound_to=(actor.id, owner_id, sorted(filters.items())),
    )


def read_task(actor: Actor, task_id: int) -> Row:
    """Return one task that the actor may see. Raises NotFound."""
    found = db.session.execute(READ, {"task_id": task_id, **policy.visible_to(actor)}).first()
    if found is None:
        raise NotFound
    return TASK.from_row(found)


def create_task(actor: Actor, *, position: str | None = None, **said: Any) -> Task:
    """Create a task of the actor's; without a position it goes last."""
    if position is None:
        last = db.session.scalar(LAST_POSITION, {"actor_id": actor.id})
        position = positions.after(last)
    task = Task(**task_values(clock.now(), created_by=actor.id, position=position, **said))
    db.session.add(task)
    return commit(task)


def change_task(
    actor: Actor, task_id: int, changes: Mapping[str, Any], *, versions: Versions
) -> Task:
    """Apply ``changes`` to one task that the actor may see.

    Raises NotFound, or StaleVersion when the task is at none of ``versions``.
    """
    task = _lock(actor, task_id)
    task.require_version(versions)
    task.apply(changes, clock.now())
    return commit(task)


def delete_task(actor: Actor, task_id: int, *, versions: Versions) -> None:
    """Delete one task that the actor may see.

    Raises NotFound, or StaleVersion when the task is at none of ``versions``.
    """
    task = _lock(actor, task_id)
    task.require_version(versions)
    db.session.delete(task)
    record_deletions(actor, [task])
    commit()


def record_deletions(actor: Actor, tasks: Iterable[Task]) -> None:
    """Record, for their owners, that ``actor`` deletes these tasks."""
    each = [(task.created_by, {"task_id": task.id}) for task in tasks]
    audit.record_all(Event.task_deleted, each, actor_id=actor.id)


def _lock(actor: Actor, task_id: int) -> Task:
    task = db.session.scalar(LOCK, {"task_id": task_id, **policy.visible_to(actor)})
    if task is None:
        raise NotFound
    return task
