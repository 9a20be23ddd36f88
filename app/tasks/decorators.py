"""View decorator of single tasks."""

from functools import wraps
from typing import Any

from app import errors
from app.api.operation_meta import View
from app.auth.models import Actor
from app.tasks import services

INVALID_REQUEST = (
    errors.BadRequest,
    errors.MalformedJson,
    errors.NotAcceptable,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.ValidationFailed,
)


def task_or_404(view: View) -> View:
    """Return 404 instead of a validation error when the caller cannot see the task.

    Services check this anyway. Only a request that is rejected before its service takes a query
    more.
    """

    @wraps(view)
    def wrapper(actor: Actor, *, task_id: int, **kwargs: Any) -> Any:
        try:
            return view(actor, task_id=task_id, **kwargs)
        except INVALID_REQUEST:
            services.read_task(actor, task_id)
            raise

    return wrapper
