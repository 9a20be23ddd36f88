"""The rules of tasks."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth.models import Actor, User
from app.errors import NotFound
from app.extensions import db
from app.http.conditional import Versions
from app.http.output import Row
from app.http.pages import Page
from app.statements import Alteration, Insertion, Query
from app.tasks import mails, policy, positions
from app.tasks.listing import TASKS, filter_values
from app.tasks.models import DECIDING, Task, changed_values, require_version, task_values
from app.tasks.schemas import TASK
from app.tasks.search import listed_words
from app.transactions import begin, commit

_one = (Task.id == bindparam("task_id"), policy.VISIBLE)
READ = Query(select(*TASK.columns).where(*_one), shown=True)
LOCK = select(Task).where(*_one).with_for_update().execution_options(locks_rows=True)
JUDGE = Query(select(Task.version, *(getattr(Task, name) for name in DECIDING)).where(*_one))
CREATE = Insertion(Task)
CHANGE = Alteration(Task, TASK.columns, shown=True)
LAST_POSITION = Query(
    select(func.max(Task.position)).where(Task.created_by == bindparam("actor_id"))
)
COUNT = select(func.count()).where(Task.created_by == bindparam("owner_id"))


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
    found = READ.first({"task_id": task_id, **policy.visible_to(actor)})
    if found is None:
        raise NotFound
    return TASK.from_row(found)


def create_task(actor: Actor, **said: Any) -> Row:
    """Create a task of the actor's; without a position it goes last."""
    if mails.confirms(actor):
        begin()
    [values] = new_rows(actor.id, actor.time_zone, [said], clock.now())
    task = TASK.from_values({"id": CREATE.one(values), **values})
    mails.confirm(actor, [task["id"]])
    return commit(task)


def new_rows(
    owner_id: int, owner_zone: str, bodies: Iterable[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Return the columns of tasks that are created together.

    Those that say no position go last, in their order.
    """
    last: str | None = None
    rows = []
    for body in bodies:
        said = dict(body)
        position = said.pop("position", None)
        if position is None:
            last = position = positions.after(last or _last_position(owner_id))
        given = {"owner_zone": owner_zone, "created_by": owner_id, "position": position}
        rows.append(task_values(now, **given, **said))
    return rows


def _last_position(owner_id: int) -> str | None:
    [[last]] = LAST_POSITION.all({"actor_id": owner_id})
    return str(last) if last is not None else None


def count_tasks(owner_id: int) -> int:
    """Return how many tasks an account has."""
    return db.session.scalar(COUNT, {"owner_id": owner_id}) or 0


def change_task(
    actor: Actor, task_id: int, changes: Mapping[str, Any], *, versions: Versions
) -> Row:
    """Apply ``changes`` to one task that the actor may see.

    Raises NotFound, or StaleVersion when the task is at none of ``versions``.
    """
    row = None
    # Who comes between the look and the change has it looked at, and judged, once more.
    while row is None:
        version, before = _judged(actor, task_id, versions)
        zones = owner_zones(actor, {before["created_by"]})
        owner_zone = zones[before["created_by"]]
        values = changed_values(before, changes, clock.now(), owner_zone=owner_zone)
        if not values:
            return commit(read_task(actor, task_id))
        row = CHANGE.one(task_id, version, values)
    return commit(TASK.from_row(row))


def delete_task(actor: Actor, task_id: int, *, versions: Versions) -> None:
    """Delete one task that the actor may see.

    Raises NotFound, or StaleVersion when the task is at none of ``versions``.
    """
    task = _lock(actor, task_id)
    task.require_version(versions)
    db.session.delete(task)
    record_deletions(actor, [task])
    commit()


def _judged(actor: Actor, task_id: int, versions: Versions) -> tuple[int, dict[str, Any]]:
    """Return the version of a task, and what it is.

    Raises NotFound, or StaleVersion when the task is at none of ``versions``.
    """
    found = JUDGE.first({"task_id": task_id, **policy.visible_to(actor)})
    if found is None:
        raise NotFound
    version, *values = found
    require_version(version, versions)
    return version, dict(zip(DECIDING, values, strict=True))


def owner_zones(actor: Actor, owner_ids: AbstractSet[int]) -> Mapping[int, str]:
    """Return the time zone of each of these accounts."""
    zones = {actor.id: actor.time_zone}
    if others := owner_ids - zones.keys():
        found = db.session.execute(select(User.id, User.time_zone).where(User.id.in_(others)))
        zones |= {owner.id: owner.time_zone for owner in found}
    return zones


def record_deletions(actor: Actor, tasks: Iterable[Task]) -> None:
    """Record, for their owners, that ``actor`` deletes these tasks."""
    each = [(task.created_by, {"task_id": task.id}) for task in tasks]
    audit.record_all(Event.task_deleted, each, actor_id=actor.id)


def _lock(actor: Actor, task_id: int) -> Task:
    task = db.session.scalar(LOCK, {"task_id": task_id, **policy.visible_to(actor)})
    if task is None:
        raise NotFound
    return task
