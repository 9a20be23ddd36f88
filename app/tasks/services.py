"""Services of tasks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, insert, select, update

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth.models import Actor, User
from app.db.compiled import CompiledInsert, CompiledSelect, CompiledUpdate
from app.db.engine import for_key_share, for_update
from app.db.pagination import Page
from app.db.transactions import begin, commit
from app.db.types import ExpectedVersions
from app.errors import NotFound, StaleVersion
from app.extensions import db
from app.tasks import emails, permissions, positions
from app.tasks.listing import TASKS, filter_params
from app.tasks.models import (
    CLIENT_COLUMNS,
    TASK_COLUMNS,
    Priority,
    Status,
    Task,
    build_task_values,
    compute_changes,
)

TaskRow = dict[str, Any]

TABLE: Table = Task.metadata.tables["tasks"]
_visible_task = (Task.id == bindparam("task_id"), permissions.can_view)
_owner_zone = User.time_zone.label("owner_zone")
# The statements of single tasks are compiled: these are most of all requests.
READ = CompiledSelect(select(*TASK_COLUMNS).where(*_visible_task), json_ready=True)
CURRENT_STATE = CompiledSelect(
    select(Task.version, Task.created_by, *CLIENT_COLUMNS, _owner_zone)
    .join(Task.creator)
    .where(*_visible_task)
)
STATE_NAMES = ("version", "created_by", *(column.key for column in CLIENT_COLUMNS), "owner_zone")
INSERT = CompiledInsert(Task)
UPDATE = CompiledUpdate(Task, TASK_COLUMNS)
LAST_POSITION = CompiledSelect(
    select(func.max(Task.position)).where(Task.created_by == bindparam("owner_id"))
)
LOCK_ROWS = for_update(
    select(*TASK_COLUMNS, _owner_zone)
    .join(Task.creator)
    .where(Task.id.in_(bindparam("task_ids", expanding=True)), permissions.can_view)
    .order_by(Task.id),
    of=Task,
)
_owners = select(Task.created_by).where(
    Task.id.in_(bindparam("task_ids", expanding=True)), permissions.can_view
)
_actor = select(bindparam("actor_id", type_=User.id.type))
LOCK_OWNERS = for_key_share(
    select(User.id).where(User.id.in_(_owners.union(_actor))).order_by(User.id)
)
INSERT_ROWS = insert(TABLE).returning(TABLE.c.id)
DELETE_ROWS = delete(TABLE).where(TABLE.c.id.in_(bindparam("task_ids", expanding=True)))


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
    params = permissions.can_list_params(actor, owner_id)
    params |= filter_params(filters, params["owner_id"], actor.time_zone, clock.now())
    return TASKS.page(
        values=params,
        filters=filters.keys(),
        sort=sort,
        limit=limit,
        cursor=cursor,
        context=(actor.id, owner_id, sorted(filters.items())),
    )


def count_tasks(owner_id: int) -> int:
    """Return the number of tasks of a user."""
    statement = select(func.count()).where(Task.created_by == owner_id)
    return db.session.scalar(statement) or 0


def read_task(actor: Actor, task_id: int) -> TaskRow:
    """Return a task that the actor may see. Raises NotFound."""
    task: TaskRow | None = READ.first({"task_id": task_id, **permissions.can_view_params(actor)})
    if task is None:
        raise NotFound
    return task


def create_task(
    actor: Actor,
    *,
    title: str,
    description: str | None = None,
    status: str = Status.pending,
    priority: str = Priority.none.name,
    due_date: date | None = None,
    due_at: datetime | None = None,
    time_zone: str | None = None,
    position: str | None = None,
) -> TaskRow:
    """Create a task of the actor; without a position it goes last."""
    if emails.notifies_on_create(actor):
        begin()
    [values] = new_rows(
        actor.id,
        actor.time_zone,
        [
            {
                "title": title,
                "description": description,
                "status": status,
                "priority": priority,
                "due_date": due_date,
                "due_at": due_at,
                "time_zone": time_zone,
                "position": position,
            }
        ],
        clock.now(),
    )
    task = {"id": INSERT.execute(values), **values}
    emails.notify_created(actor, [task["id"]])
    return commit(task)


def update_task(
    actor: Actor, task_id: int, changes: Mapping[str, Any], *, expected: ExpectedVersions
) -> TaskRow:
    """Apply ``changes`` to a task that the actor may see.

    Raises NotFound, or StaleVersion if the task is at none of the ``expected`` versions.
    """
    params = {"task_id": task_id, **permissions.can_view_params(actor)}
    task: TaskRow | None = None
    # Without a lock: if another write comes between, read and decide again.
    while task is None:
        row = CURRENT_STATE.first(params)
        if row is None:
            raise NotFound
        state = dict(zip(STATE_NAMES, row, strict=True))
        require_version(state["version"], expected)
        values = compute_changes(state, changes, clock.now())
        if not values:
            return commit(read_task(actor, task_id))
        task = UPDATE.execute(task_id, state["version"], values)
    return commit(task)


def delete_task(actor: Actor, task_id: int, *, expected: ExpectedVersions) -> None:
    """Delete a task that the actor may see.

    Raises NotFound, or StaleVersion if the task is at none of the ``expected`` versions.
    """
    task = lock_rows(actor, [task_id]).get(task_id)
    if task is None:
        raise NotFound
    require_version(task["version"], expected)
    delete_rows(actor, [task])
    commit()


def require_version(version: int, expected: ExpectedVersions) -> None:
    """Raise StaleVersion unless ``version`` is one of the expected; None stands for any."""
    if expected is not None and version not in expected:
        raise StaleVersion(version)


def new_rows(
    owner_id: int, owner_zone: str, tasks: Iterable[Mapping[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Return all columns of new tasks; those without a position go last, in their order."""
    last: str | None = None
    rows = []
    for task in tasks:
        position = task.get("position")
        if position is None:
            last = position = positions.after(last or _last_position(owner_id))
        data = {**task, "position": position, "created_by": owner_id}
        rows.append(build_task_values(now, owner_zone=owner_zone, **data))
    return rows


def _last_position(owner_id: int) -> str | None:
    [position] = LAST_POSITION.first({"owner_id": owner_id})
    return None if position is None else str(position)


def lock_rows(actor: Actor, task_ids: Sequence[int]) -> Mapping[int, TaskRow]:
    """Lock the tasks that the actor may see; return them by id, with their ``owner_zone``."""
    params = {"task_ids": task_ids, **permissions.can_view_params(actor)}
    return {row["id"]: dict(row) for row in db.session.execute(LOCK_ROWS, params).mappings()}


def lock_all(actor: Actor, task_ids: Sequence[int]) -> Mapping[int, TaskRow]:
    """Lock several tasks, after their owners and the actor."""
    params = {"task_ids": task_ids, **permissions.can_view_params(actor)}
    db.session.execute(LOCK_OWNERS, params)
    return lock_rows(actor, task_ids)


def insert_rows(actor: Actor, rows: Sequence[dict[str, Any]]) -> list[TaskRow]:
    """Insert tasks of the actor with one statement."""
    # Ids are generated in the order of the rows, but may be returned in another.
    ids = sorted(db.session.scalars(INSERT_ROWS, rows))
    emails.notify_created(actor, ids)
    return [{"id": task_id, **row} for task_id, row in zip(ids, rows, strict=True)]


def update_rows(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Update ``columns`` of locked tasks; each row has them and the ``task_id``."""
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    statement = update(TABLE).where(TABLE.c.id == bindparam("task_id")).values(values)
    db.session.execute(statement.values(version=TABLE.c.version + 1), rows)


def delete_rows(actor: Actor, tasks: Sequence[TaskRow]) -> None:
    """Delete locked tasks, and record that for their owners."""
    db.session.execute(DELETE_ROWS, {"task_ids": [task["id"] for task in tasks]})
    details = [(task["created_by"], {"task_id": task["id"]}) for task in tasks]
    audit.record_all(Event.task_deleted, details, actor_id=actor.id)
