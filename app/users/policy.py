"""Who may administer accounts."""

from dataclasses import dataclass
from typing import Literal

from app.auth.models import Actor
from app.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever runs commands where the service runs: it has no account, and needs none."""

    id: None = None
    is_admin: Literal[True] = True


OPERATOR = Operator()
Administrator = Actor | Operator


def require_admin(actor: Administrator) -> None:
    """Raise Forbidden, whether there is such an account or not."""
    if not actor.is_admin:
        raise Forbidden


def require_reader(actor: Administrator, user_id: int) -> None:
    """Raise Forbidden unless ``actor`` may read the account ``user_id``: its own, or any."""
    if actor.id != user_id:
        require_admin(actor)
