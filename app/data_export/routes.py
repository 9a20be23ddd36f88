"""Endpoint of the data export."""

from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import Response, request

from app.api.blueprint import Blueprint
from app.api.parsing import JSON
from app.auth.decorators import session_required
from app.auth.models import Actor
from app.data_export import document, schemas

blp = Blueprint("data_export", __name__, description="Export of your data.")

MAX_MEMORY = 1024 * 1024
READ_SIZE = 64 * 1024


@blp.get("")
@session_required()
@blp.response(200, schemas.ExportSchema, is_attachment=True)
def export_data(actor: Actor) -> Response:
    """Download all your data as one JSON file."""
    # Written in full before it is sent: a failure becomes an error response, and a slow client does
    # not hold a database connection.
    with ExitStack() as stack:
        file = stack.enter_context(SpooledTemporaryFile(MAX_MEMORY))
        document.export_data(actor, file)
        response = Response(content_type=JSON)
        response.headers["Content-Disposition"] = 'attachment; filename="task-api-data.json"'
        response.content_length = file.tell()
        if request.method == "GET":
            response.response = _read(file)
            response.call_on_close(stack.pop_all().close)
    return response


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(READ_SIZE):
            yield chunk
