"""Tasks over HTTP."""

from collections.abc import Sequence
from typing import Any

from app.auth.guard import requires_token
from app.auth.models import Actor, Scope
from app.errors import NotFound, StaleVersion
from app.http.blueprint import Blueprint
from app.http.conditional import if_match
from app.http.idempotency import idempotent
from app.http.output import Row
from app.http.pages import Page
from app.http.remembering import remembered
from app.tasks import policy, services
from app.tasks.batch import run_batch
from app.tasks.guard import hides_task
from app.tasks.operations import Operation
from app.tasks.schemas import (
    BATCH,
    BATCH_ANSWER,
    CHANGE_STATUS,
    CHANGE_TASK,
    CREATE_TASK,
    REPLACE_TASK,
    TASK,
    TASK_PAGE,
    TASK_QUERY,
)

blueprint = Blueprint("tasks", __name__, url_prefix="/api/v1/tasks", description="Tasks.")


@blueprint.get("")
@requires_token(Scope.tasks_read)
@blueprint.arguments(TASK_QUERY, location="query")
@blueprint.response(200, TASK_PAGE)
@remembered(TASK, policy.list_depends_on)
def list_tasks(actor: Actor, query: dict[str, Any]) -> Page:
    """List tasks, filtered and sorted."""
    return services.list_tasks(actor, **query)


@blueprint.post("")
@requires_token(Scope.tasks_write)
@idempotent
@blueprint.arguments(CREATE_TASK)
@blueprint.response(201, TASK)
def create_task(actor: Actor, task: dict[str, Any]) -> Row:
    """Create a task."""
    return services.create_task(actor, **task)


@blueprint.post("/batch")
@requires_token(Scope.tasks_write)
@idempotent
@blueprint.refuses(NotFound, StaleVersion)
@blueprint.arguments(BATCH)
@blueprint.response(200, BATCH_ANSWER)
def change_tasks(actor: Actor, asked: dict[str, Any]) -> Sequence[Operation]:
    """Create, change and delete up to 100 tasks at once: all or none, or each for itself."""
    return run_batch(actor, **asked)


@blueprint.get("/<row_id:task_id>")
@requires_token(Scope.tasks_read)
@hides_task
@blueprint.response(200, TASK)
def read_task(actor: Actor, task_id: int) -> Row:
    """Read a task."""
    return services.read_task(actor, task_id)


@blueprint.put("/<row_id:task_id>")
@requires_token(Scope.tasks_write)
@hides_task
@blueprint.arguments(REPLACE_TASK)
@blueprint.response(200, TASK)
def replace_task(actor: Actor, task: dict[str, Any], task_id: int) -> Row:
    """Replace what a client may say of a task; what is left out takes its default."""
    return services.change_task(actor, task_id, task, versions=if_match())


@blueprint.patch("/<row_id:task_id>")
@requires_token(Scope.tasks_write)
@hides_task
@blueprint.arguments(CHANGE_TASK)
@blueprint.response(200, TASK)
def change_task(actor: Actor, changes: dict[str, Any], task_id: int) -> Row:
    """Change some fields of a task."""
    return services.change_task(actor, task_id, changes, versions=if_match())


@blueprint.put("/<row_id:task_id>/status")
@requires_token(Scope.tasks_write)
@hides_task
@blueprint.arguments(CHANGE_STATUS)
@blueprint.response(200, TASK)
def change_status(actor: Actor, change: dict[str, str], task_id: int) -> Row:
    """Start, complete, cancel or reopen a task."""
    return services.change_task(actor, task_id, change, versions=if_match())


@blueprint.delete("/<row_id:task_id>")
@requires_token(Scope.tasks_write)
@hides_task
@blueprint.response(204)
def delete_task(actor: Actor, task_id: int) -> None:
    """Delete a task."""
    services.delete_task(actor, task_id, versions=if_match())
