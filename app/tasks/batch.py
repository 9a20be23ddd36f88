"""Batches of changes.

Whatever their number, one statement locks the tasks, one inserts, one deletes, and one updates for
each set of columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

from app import clock
from app.auth.models import Actor
from app.db.transactions import commit
from app.errors import NotFound, Problem
from app.tasks import services
from app.tasks.models import compute_changes


@dataclass(slots=True)
class Operation:
    """A requested change, and its result: the task, a problem, or neither after a deletion."""

    op: Literal["create", "update", "delete"]
    id: int | None
    version: int | None
    body: Mapping[str, Any]
    problem: Problem | None = None
    task: Mapping[str, Any] | None = None


def run_batch(
    actor: Actor, operations: Sequence[Operation], *, atomic: bool
) -> Sequence[Operation]:
    """Run operations, each with the result that its own request would have.

    If ``atomic``, raise the problem of the first that fails, with its index, and change nothing.
    """
    ids = [operation.id for operation in operations if operation.id is not None]
    _check(operations, services.lock_all(actor, ids) if ids else {})
    if atomic:
        _raise_first_problem(operations)
    now = clock.now()
    accepted = [operation for operation in operations if operation.problem is None]
    _create(actor, [operation for operation in accepted if operation.op == "create"], now)
    _update([operation for operation in accepted if operation.op == "update"], now)
    _delete(actor, [operation for operation in accepted if operation.op == "delete"])
    return commit(operations)


def _check(operations: Sequence[Operation], locked: Mapping[int, services.TaskRow]) -> None:
    """Set the task of each operation, or the problem for which it fails."""
    for operation in operations:
        if operation.op == "create" or operation.problem is not None:
            continue
        task = locked.get(operation.id or 0)
        try:
            if task is None:
                raise NotFound
            services.require_version(
                task["version"], {operation.version} if operation.version else None
            )
        except Problem as problem:
            operation.problem = problem
        operation.task = task


def _raise_first_problem(operations: Sequence[Operation]) -> None:
    for index, operation in enumerate(operations):
        if operation.problem is not None:
            operation.problem.operation = index
            raise operation.problem


def _create(actor: Actor, operations: Sequence[Operation], now: datetime) -> None:
    if not operations:
        return
    data = (operation.body for operation in operations)
    tasks = services.insert_rows(actor, services.new_rows(actor.id, actor.time_zone, data, now))
    for operation, task in zip(operations, tasks, strict=True):
        operation.task = task


def _update(operations: Sequence[Operation], now: datetime) -> None:
    updates = []
    for operation in operations:
        task = operation.task or {}
        values = compute_changes(task, operation.body, now)
        if values:
            updates.append((sorted(values), {**values, "task_id": task["id"]}))
            operation.task = {**task, **values, "version": task["version"] + 1}
    for columns, group in groupby(sorted(updates, key=itemgetter(0)), key=itemgetter(0)):
        services.update_rows(columns, [row for _, row in group])


def _delete(actor: Actor, operations: Sequence[Operation]) -> None:
    tasks = [dict(operation.task) for operation in operations if operation.task is not None]
    if tasks:
        services.delete_rows(actor, tasks)
