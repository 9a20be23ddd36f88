"""Permissions of tasks, as conditions over bound parameters: statements are compiled once."""

from typing import Any

from sqlalchemy import and_, bindparam, or_

from app.auth.models import Actor, Role, User
from app.tasks.models import Task

_actor_is_admin = bindparam("actor_role", type_=User.role.type) == Role.admin

# A task can be read, updated and deleted by its creator and by administrators.
can_view = or_(Task.created_by == bindparam("actor_id"), _actor_is_admin)

# A list has the tasks of one owner. The permission is a condition on the owner, not on each task:
# PostgreSQL would estimate that the latter leaves few rows, and choose a worse plan.
_owner_id = bindparam("owner_id", type_=Task.created_by.type)
can_list = and_(
    Task.created_by == _owner_id, or_(_owner_id == bindparam("actor_id"), _actor_is_admin)
)


def can_view_params(actor: Actor) -> dict[str, Any]:
    """Return the parameters of ``can_view``."""
    return {"actor_id": actor.id, "actor_role": actor.role}


def can_list_params(actor: Actor, owner_id: int | None) -> dict[str, Any]:
    """Return the parameters of ``can_list`` for the tasks of ``owner_id``, or the actor's own."""
    return can_view_params(actor) | {"owner_id": owner_id or actor.id}
