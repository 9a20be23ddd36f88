"""Endpoints of tasks."""

from collections.abc import Sequence
from typing import Any

from app.api.blueprint import Blueprint
from app.api.http import if_match, location
from app.api.idempotency import idempotent
from app.auth.decorators import token_required
from app.auth.models import Actor, Scope
from app.db.pagination import Page
from app.errors import NotFound, StaleVersion
from app.tasks import schemas, services
from app.tasks.batch import Operation, run_batch
from app.tasks.decorators import task_or_404

blp = Blueprint("tasks", __name__, description="Tasks.")


@blp.get("")
@token_required(Scope.tasks_read)
@blp.arguments(schemas.TaskQuerySchema, location="query")
@blp.response(200, schemas.TaskPageSchema)
def list_tasks(actor: Actor, query: dict[str, Any]) -> Page:
    """List tasks."""
    return services.list_tasks(actor, **query)


@blp.post("")
@token_required(Scope.tasks_write)
@blp.arguments(schemas.CreateTaskSchema)
@idempotent
@blp.response(201, schemas.TaskSchema)
def create_task(actor: Actor, data: dict[str, Any]) -> tuple[services.TaskRow, dict[str, str]]:
    """Create a task."""
    task = services.create_task(actor, **data)
    return task, location("tasks.read_task", task_id=task["id"])


@blp.post("/batch")
@token_required(Scope.tasks_write)
@blp.arguments(schemas.BatchSchema)
@idempotent
@blp.alt_response(NotFound, StaleVersion)
@blp.response(200, schemas.BatchResponseSchema)
def run_task_batch(actor: Actor, batch: dict[str, Any]) -> Sequence[Operation]:
    """Create, update and delete up to 100 tasks in one request."""
    return run_batch(actor, **batch)


@blp.get("/<row_id:task_id>")
@token_required(Scope.tasks_read)
@task_or_404
@blp.response(200, schemas.TaskSchema)
def read_task(actor: Actor, task_id: int) -> services.TaskRow:
    """Retrieve a task."""
    return services.read_task(actor, task_id)


@blp.put("/<row_id:task_id>")
@token_required(Scope.tasks_write)
@task_or_404
@blp.arguments(schemas.ReplaceTaskSchema)
@blp.response(200, schemas.TaskSchema)
def replace_task(actor: Actor, data: dict[str, Any], task_id: int) -> services.TaskRow:
    """Replace a task; absent optional fields take their defaults."""
    return services.update_task(actor, task_id, data, expected=if_match())


@blp.patch("/<row_id:task_id>")
@token_required(Scope.tasks_write)
@task_or_404
@blp.arguments(schemas.UpdateTaskSchema(partial=True))
@blp.response(200, schemas.TaskSchema)
def update_task(actor: Actor, changes: dict[str, Any], task_id: int) -> services.TaskRow:
    """Update some fields of a task."""
    return services.update_task(actor, task_id, changes, expected=if_match())


@blp.put("/<row_id:task_id>/status")
@token_required(Scope.tasks_write)
@task_or_404
@blp.arguments(schemas.UpdateStatusSchema)
@blp.response(200, schemas.TaskSchema)
def update_status(actor: Actor, changes: dict[str, str], task_id: int) -> services.TaskRow:
    """Start, complete, cancel or reopen a task."""
    return services.update_task(actor, task_id, changes, expected=if_match())


@blp.delete("/<row_id:task_id>")
@token_required(Scope.tasks_write)
@task_or_404
@blp.response(204)
def delete_task(actor: Actor, task_id: int) -> None:
    """Delete a task."""
    services.delete_task(actor, task_id, expected=if_match())
