"""Decorators of the import endpoint."""

from functools import wraps
from typing import IO, Any

from flask import Response, jsonify

from app.api.http import require_acceptable, require_declared_query
from app.api.operation_meta import View, annotate
from app.auth.models import Actor
from app.errors import MalformedJson
from app.jobs import imports
from app.jobs.models import FileFormat
from app.jobs.schemas import DryRunSchema

DRY_RUN_SCHEMA = DryRunSchema()


def dry_run(view: View) -> View:
    """With ``dry_run=true``, return the report of an import instead of the view's response.

    It stands above ``idempotent``, because a dry run stores nothing.
    """

    @wraps(view)
    def wrapper(
        actor: Actor, query: dict[str, Any], file_format: FileFormat, file: IO[bytes]
    ) -> Response:
        if not query["dry_run"]:
            response: Response = view(actor, file_format, file)
            return response
        require_acceptable()
        require_declared_query()
        summary = imports.dry_run(actor, format=file_format, file=file)
        return jsonify(DRY_RUN_SCHEMA.dump(summary))

    return annotate(wrapper, MalformedJson, other_responses={200: DRY_RUN_SCHEMA})
