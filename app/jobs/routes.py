"""Endpoints of exports, imports and jobs."""

from typing import IO, Any

from flask import Response, request

from app.api.blueprint import Blueprint
from app.api.http import location, require_acceptable
from app.api.idempotency import idempotent
from app.api.parsing import JSON
from app.auth.decorators import token_required
from app.auth.models import Actor, Scope
from app.db.pagination import Page
from app.errors import Conflict
from app.jobs import schemas, services
from app.jobs.decorators import dry_run
from app.jobs.models import FileFormat, Job, JobKind
from app.jobs.uploads import uploaded_file

blp = Blueprint("jobs", __name__, description="Exports and imports of tasks.")


@blp.post("/exports")
@token_required(Scope.tasks_read)
@blp.arguments(schemas.CreateExportSchema)
@idempotent
@blp.response(202, schemas.JobSchema)
def create_export(actor: Actor, data: dict[str, str]) -> tuple[Job, dict[str, str]]:
    """Export all tasks to a file, in the background."""
    job = services.create_export(actor, **data)
    return job, location("jobs.read_job", job_id=job.id)


@blp.post("/imports")
@token_required(Scope.tasks_write)
@blp.arguments(schemas.ImportQuerySchema, location="query")
@uploaded_file
@dry_run
@idempotent
@blp.alt_response(Conflict)
@blp.response(202, schemas.JobSchema)
@blp.doc(requestBody={"required": True, "content": schemas.UPLOAD_CONTENT})
def create_import(
    actor: Actor, file_format: FileFormat, file: IO[bytes]
) -> tuple[Job, dict[str, str]]:
    """Import the tasks of a file, in the background; with `dry_run=true`, only report."""
    job = services.create_import(actor, format=file_format, file=file)
    return job, location("jobs.read_job", job_id=job.id)


@blp.get("/jobs")
@token_required(Scope.tasks_read)
@blp.arguments(schemas.JobQuerySchema, location="query")
@blp.response(200, schemas.JobPageSchema)
def list_jobs(actor: Actor, query: dict[str, Any]) -> Page:
    """List your exports and imports."""
    return services.list_jobs(actor, **query)


@blp.get("/jobs/<row_id:job_id>")
@token_required(Scope.tasks_read)
@blp.response(200, schemas.JobSchema)
def read_job(actor: Actor, job_id: int) -> dict[str, Any]:
    """Get a job and its progress."""
    return services.read_job(actor, job_id)


@blp.get("/jobs/<row_id:job_id>/result")
@token_required(Scope.tasks_read)
@blp.response(200, schemas.ResultSchema, is_attachment=True, other_types=schemas.EXAMPLES)
def read_job_result(actor: Actor, job_id: int) -> Response:
    """Download the file of an export or the report of an import."""
    result = services.read_result(actor, job_id)
    media_type, file_name = JSON, f"import-{job_id}.json"
    if result.kind == JobKind.export:
        media_type, file_name = (
            schemas.MEDIA_TYPES[result.format],
            f"tasks.{schemas.EXTENSIONS[result.format]}",
        )
    require_acceptable(media_type)
    response = Response(mimetype=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    response.content_length = result.length
    if request.method == "GET":
        response.response = result.content
    return response
