"""One's own data over HTTP."""

from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import Response, request

from app.auth.guard import requires_session
from app.auth.models import Actor
from app.http.answers import JSON
from app.http.blueprint import Blueprint
from app.personal_data import services
from app.personal_data.schemas import EXPORT

blueprint = Blueprint(
    "personal_data", __name__, url_prefix="/api/v1/auth/me/export", description="One's own data."
)

FILE_NAME = "task-api-data.json"
KEPT_IN_MEMORY = 1024 * 1024
CHUNK = 64 * 1024


@blueprint.get("")
@requires_session()
@blueprint.response(200, EXPORT, attached=True)
def export_data(actor: Actor) -> Response:
    """Get all of one's own data as one file."""
    # Whole before it is sent: what fails is refused, not cut short, and whoever reads slowly keeps
    # no database connection.
    with ExitStack() as closing:
        file = closing.enter_context(SpooledTemporaryFile(KEPT_IN_MEMORY))
        services.export_data(actor, file)
        answer = Response(content_type=JSON)
        answer.headers["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
        answer.content_length = file.tell()
        if request.method == "GET":
            answer.response = _read(file)
            answer.call_on_close(closing.pop_all().close)
    return answer


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(CHUNK):
            yield chunk
