"""What stands before accounts: whoever may not is told nothing else, not even mistakes."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from app.auth.models import Actor
from app.errors import Forbidden
from app.http.promises import View, promise
from app.users import policy


def for_admins(view: View) -> View:
    """Let a view run for administrators; it stands behind the door, and gets the Actor."""
    return _judged(view, lambda actor, **_: policy.require_admin(actor))


def for_readers(view: View) -> View:
    """Let a view run for administrators, and for whoever asks for its own account."""
    return _judged(view, policy.require_reader)


def _judged(view: View, rule: Callable[..., None]) -> View:
    @wraps(view)
    def judged(actor: Actor, **kwargs: Any) -> Any:
        rule(actor, **kwargs)
        return view(actor, **kwargs)

    return promise(judged, Forbidden)
