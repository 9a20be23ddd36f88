"""Permissions to read and administer users."""

from dataclasses import dataclass
from typing import Literal

from app.auth.models import Actor
from app.errors import Forbidden


@dataclass(frozen=True, slots=True)
class SystemActor:
    """The operator of the command line, who is no user and may administer all of them."""

    id: None = None
    is_admin: Literal[True] = True


SYSTEM = SystemActor()
AnyActor = Actor | SystemActor


def require_admin(actor: AnyActor) -> None:
    """Raise Forbidden unless the actor is an administrator."""
    if not actor.is_admin:
        raise Forbidden


def require_admin_or_self(actor: AnyActor, user_id: int) -> None:
    """Raise Forbidden unless the actor is an administrator or the user ``user_id``."""
    if actor.id != user_id:
        require_admin(actor)
