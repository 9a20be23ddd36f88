"""Exports, imports and how they are going, over HTTP."""

from typing import IO, Any

from flask import Response, request

from app.auth.guard import requires_token
from app.auth.models import Actor, Scope
from app.errors import Conflict
from app.http.answers import JSON, require_acceptable
from app.http.blueprint import Blueprint
from app.http.idempotency import idempotent
from app.http.output import Row
from app.http.pages import Page
from app.jobs import services
from app.jobs.models import Format, Job, Kind
from app.jobs.schemas import (
    ASK_EXPORT,
    EXAMPLES,
    FILES,
    IMPORT_QUERY,
    JOB,
    JOB_PAGE,
    JOB_QUERY,
    RESULT,
)
from app.jobs.uploads import takes_file

blueprint = Blueprint(
    "jobs", __name__, url_prefix="/api/v1", description="Exports and imports of tasks."
)

MEDIA_TYPES = {Format.json: JSON, Format.csv: "text/csv", Format.icalendar: "text/calendar"}
ENDINGS = {Format.json: "json", Format.csv: "csv", Format.icalendar: "ics"}


@blueprint.post("/exports")
@requires_token(Scope.tasks_read)
@idempotent
@blueprint.arguments(ASK_EXPORT)
@blueprint.response(202, JOB)
def create_export(actor: Actor, asked: dict[str, str]) -> Job:
    """Have all of one's tasks written to a file, in the background."""
    return services.create_export(actor, **asked)


@blueprint.post("/imports")
@requires_token(Scope.tasks_write)
@blueprint.arguments(IMPORT_QUERY, location="query")
@takes_file
@idempotent
@blueprint.refuses(Conflict)
@blueprint.response(202, JOB)
@blueprint.doc(requestBody={"required": True, "content": FILES})
def create_import(actor: Actor, name: Format, file: IO[bytes]) -> Job:
    """Have the tasks of a file created, in the background."""
    return services.create_import(actor, format=name, file=file)


@blueprint.get("/jobs")
@requires_token(Scope.tasks_read)
@blueprint.arguments(JOB_QUERY, location="query")
@blueprint.response(200, JOB_PAGE)
def list_jobs(actor: Actor, query: dict[str, Any]) -> Page:
    """List one's exports and imports, the newest first."""
    return services.list_jobs(actor, **query)


@blueprint.get("/jobs/<row_id:job_id>")
@requires_token(Scope.tasks_read)
@blueprint.response(200, JOB)
def read_job(actor: Actor, job_id: int) -> Row:
    """Read how an export or import is going."""
    return services.read_job(actor, job_id)


@blueprint.get("/jobs/<row_id:job_id>/result")
@requires_token(Scope.tasks_read)
@blueprint.response(200, RESULT, attached=True, other_types=EXAMPLES)
def read_job_result(actor: Actor, job_id: int) -> Response:
    """Get the file that an export wrote, or the report of an import; 404 until there is one."""
    result = services.read_result(actor, job_id)
    media_type, name = JSON, f"import-{job_id}.json"
    if result.kind == Kind.export:
        media_type, name = MEDIA_TYPES[result.format], f"tasks.{ENDINGS[result.format]}"
    require_acceptable(media_type)
    answer = Response(
        content_type=media_type if media_type == JSON else f"{media_type}; charset=utf-8"
    )
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.content_length = result.length
    if request.method == "GET":
        answer.response = result.pieces
    return answer
