"""View decorators that require an administrator.

They stand below ``session_required`` and above ``arguments``, so that other users get 403 even for
invalid requests.
"""

from functools import wraps
from typing import Any

from app.api.operation_meta import View, annotate
from app.auth.models import Actor
from app.errors import Forbidden
from app.users import permissions


def admin_required(view: View) -> View:
    """Require an administrator."""

    @wraps(view)
    def wrapper(actor: Actor, **kwargs: Any) -> Any:
        permissions.require_admin(actor)
        return view(actor, **kwargs)

    return annotate(wrapper, Forbidden)


def admin_or_self_required(view: View) -> View:
    """Require an administrator, or the user that the path names."""

    @wraps(view)
    def wrapper(actor: Actor, user_id: int) -> Any:
        permissions.require_admin_or_self(actor, user_id)
        return view(actor, user_id=user_id)

    return annotate(wrapper, Forbidden)
