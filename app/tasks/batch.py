"""Many changes of tasks in one call: all of them, or each for itself.

However many operations there are, one statement locks their rows, one inserts, one deletes, and one
updates for each set of columns.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Table, bindparam, delete, insert, inspect, select, update

from app import clock
from app.auth.models import Actor, TaskGeneration
from app.errors import NotFound, Problem
from app.extensions import db
from app.tasks import mails, policy
from app.tasks.models import Task
from app.tasks.operations import Operation
from app.tasks.services import new_rows, owner_zones, record_deletions
from app.transactions import commit

TABLE: Table = Task.metadata.tables["tasks"]
_these = (Task.id.in_(bindparam("task_ids", expanding=True)), policy.VISIBLE)
LOCK = (
    select(Task)
    .where(*_these)
    .order_by(Task.id)
    .with_for_update()
    .execution_options(locks_rows=True)
)
DELETE = delete(TABLE).where(TABLE.c.id.in_(bindparam("task_ids", expanding=True)))
LOCK_GENERATIONS = (
    select(TaskGeneration.user_id)
    .where(TaskGeneration.user_id.in_(bindparam("owner_ids", expanding=True)))
    .order_by(TaskGeneration.user_id)
    .with_for_update()
    .execution_options(locks_rows=True)
)
UPDATE = update(TABLE).where(TABLE.c.id == bindparam("task_id"))


def run_batch(
    actor: Actor, operations: Sequence[Operation], *, atomic: bool
) -> Sequence[Operation]:
    """Do what is asked for, each as its own call would do it.

    With ``atomic``, the first that can't be done is raised, with its index, and nothing is done.
    """
    _judge(operations, _lock(actor, operations))
    if atomic:
        _raise_first_problem(operations)
    now = clock.now()
    accepted = [operation for operation in operations if operation.problem is None]
    _create(actor, [operation for operation in accepted if operation.op == "create"], now)
    _update(actor, [operation for operation in accepted if operation.op == "update"], now)
    _delete(actor, [operation for operation in accepted if operation.op == "delete"])
    return commit(operations)


def _lock(actor: Actor, operations: Sequence[Operation]) -> Mapping[int, Task]:
    ids = [operation.id for operation in operations if operation.id is not None]
    if not ids:
        return {}
    tasks = db.session.scalars(LOCK, {"task_ids": ids, **policy.visible_to(actor)}).all()
    _lock_generations({actor.id, *(task.created_by for task in tasks)})
    return {task.id: task for task in tasks}


def _lock_generations(owner_ids: Collection[int]) -> None:
    """Lock, in one order, what the writes move on: several owners' have no order of their own."""
    if len(owner_ids) > 1:
        db.session.execute(LOCK_GENERATIONS, {"owner_ids": owner_ids})


def _judge(operations: Sequence[Operation], locked: Mapping[int, Task]) -> None:
    """Find the task of each operation, or why it can't be done."""
    for operation in operations:
        if operation.op == "create" or operation.problem is not None:
            continue
        operation.task = locked.get(operation.id or 0)
        try:
            if operation.task is None:
                raise NotFound  # as the call for one task would
            operation.task.require_version({operation.version} if operation.version else None)
        except Problem as problem:
            operation.problem = problem


def _raise_first_problem(operations: Sequence[Operation]) -> None:
    for index, operation in enumerate(operations):
        if operation.problem is not None:
            operation.problem.operation = index
            raise operation.problem


def _create(actor: Actor, operations: Sequence[Operation], now: datetime) -> None:
    if not operations:
        return
    bodies = (operation.body for operation in operations)
    rows = new_rows(actor.id, actor.time_zone, bodies, now)
    # Ids are given in the order of the rows; what is returned may come in any.
    made = sorted(db.session.scalars(insert(Task).returning(Task), rows), key=attrgetter("id"))
    for operation, task in zip(operations, made, strict=True):
        operation.task = task
    mails.confirm(actor, [task.id for task in made])


def _update(actor: Actor, operations: Sequence[Operation], now: datetime) -> None:
    changed = [(operation.task, operation.body) for operation in operations if operation.task]
    zones = owner_zones(actor, {task.created_by for task, _ in changed})
    rows = []
    for task, body in changed:
        task.apply(body, now, owner_zone=zones[task.created_by])
        if not db.session.is_modified(task):
            continue
        # The rows are locked at the versions that were judged; they are written all at once below.
        db.session.expunge(task)
        task.version += 1
        values = {name: value for name, value in inspect(task).dict.items() if name in TABLE.c}
        rows.append({"task_id": values.pop("id"), **values})
    for _, alike in groupby(sorted(rows, key=sorted), key=sorted):
        db.session.execute(UPDATE, list(alike))


def _delete(actor: Actor, operations: Sequence[Operation]) -> None:
    tasks = [operation.task for operation in operations if operation.task is not None]
    if tasks:
        db.session.execute(DELETE, {"task_ids": [task.id for task in tasks]})
        record_deletions(actor, tasks)
