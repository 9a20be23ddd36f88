"""Flask error handlers: every error, from any layer, becomes a problem response."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from flask import Flask, Response, current_app, got_request_exception, request
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from app import errors
from app.errors import Problem
from app.request_context import request_context

# Problems for Werkzeug's exceptions.
PROBLEM_BY_STATUS: Mapping[int, type[Problem]] = {
    cls.status: cls
    for cls in (
        errors.BadRequest,
        errors.Forbidden,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.NotAcceptable,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
    )
}
# The signs that stand for themselves in the path of a URI (RFC 3986, 3.3).
PATH_SIGNS = "/:@!$&'()*+,;="


def to_dict(problem: Problem) -> dict[str, Any]:
    """Return the body of a problem response to the current request."""
    return problem.to_dict(current_app.config["PUBLIC_URL"]) | {
        "instance": current_app.config["PUBLIC_PATH"] + quote(request.path, safe=PATH_SIGNS),
        "request_id": request_context().request_id,
    }


def render(problem: Problem) -> Response:
    """Return the response for a problem."""
    return Response(
        orjson.dumps(to_dict(problem)),
        status=problem.status,
        headers=problem.headers,
        content_type="application/problem+json",
    )


def handle_http_exception(error: HTTPException) -> Response:
    cls = PROBLEM_BY_STATUS.get(error.code or 500)
    if cls is None:
        return handle_unexpected_error(error)
    problem = cls()
    if isinstance(methods := getattr(error, "valid_methods", None), list | tuple | set):
        problem.headers["Allow"] = ", ".join(sorted(methods))
    return render(problem)


def handle_integrity_error(error: IntegrityError) -> Response:
    """Return 409 for a race: another request changed the data after it was checked."""
    request_id = request_context().request_id
    current_app.logger.warning("Constraint violated. request_id=%s", request_id, exc_info=error)
    return render(errors.Conflict())


def handle_database_unavailable(error: Exception) -> Response:
    request_id = request_context().request_id
    current_app.logger.error("Database unavailable. request_id=%s", request_id, exc_info=error)
    return render(errors.Unavailable())


def handle_statement_error(error: DBAPIError) -> Response:
    """Return 500 for a statement that the database rejects, 503 if the connection was lost."""
    if error.connection_invalidated:
        return handle_database_unavailable(error)
    return handle_unexpected_error(error)


def handle_unexpected_error(error: Exception) -> Response:
    request_id = request_context().request_id
    current_app.logger.error("Unhandled exception. request_id=%s", request_id, exc_info=error)
    # Flask sends this signal only for exceptions without a handler.
    sender = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # documented
    got_request_exception.send(sender, _async_wrapper=current_app.ensure_sync, exception=error)
    return render(errors.InternalError())


def init_app(app: Flask) -> None:
    """Register the error handlers."""
    app.register_error_handler(Problem, render)
    app.register_error_handler(HTTPException, handle_http_exception)
    app.register_error_handler(IntegrityError, handle_integrity_error)
    for cls in (DBAPIError, PoolTimeoutError):
        app.register_error_handler(cls, handle_database_unavailable)
    for cls in (DataError, NotSupportedError, ProgrammingError):
        app.register_error_handler(cls, handle_statement_error)
    app.register_error_handler(Exception, handle_unexpected_error)
