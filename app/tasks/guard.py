"""What stands before a task: whoever may not see it is told nothing else, not even mistakes."""

from functools import wraps
from typing import Any

from app.auth.models import Actor
from app.errors import (
    BadRequest,
    MalformedJson,
    NotAcceptable,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from app.http.promises import View
from app.tasks import services

MISTAKES = (
    BadRequest,
    MalformedJson,
    NotAcceptable,
    PayloadTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)


def hides_task(view: View) -> View:
    """Let NotFound go before the refusal of a body, for a task that the actor may not see.

    Services look for the task anyway, so this looks only where one was not reached.
    """

    @wraps(view)
    def hiding(actor: Actor, *, task_id: int, **kwargs: Any) -> Any:
        try:
            return view(actor, task_id=task_id, **kwargs)
        except MISTAKES:
            services.read_task(actor, task_id)
            raise

    return hiding
