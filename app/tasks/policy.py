"""Who may do what with tasks: one rule, over parameters, so that statements are built once."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, bindparam, or_

from app.auth.models import Actor
from app.tasks.models import Task

_is_admin = bindparam("actor_is_admin") == 1

# A task is seen, changed and deleted by its creator, and by administrators.
VISIBLE = or_(Task.created_by == bindparam("actor_id"), _is_admin)

# A list is one account's tasks, if they are visible. That is said of the account: of each task,
# PostgreSQL would take it to leave hardly any, and plan by that.
_owner_id = bindparam("owner_id", type_=Task.created_by.type)
LISTED = and_(Task.created_by == _owner_id, or_(_owner_id == bindparam("actor_id"), _is_admin))


def visible_to(actor: Actor) -> dict[str, Any]:
    """The parameters of VISIBLE."""
    return {"actor_id": actor.id, "actor_is_admin": int(actor.is_admin)}


def listed_for(actor: Actor, owner_id: int | None) -> dict[str, Any]:
    """The parameters of LISTED: the tasks of ``owner_id``, or the actor's own."""
    return visible_to(actor) | {"owner_id": owner_id or actor.id}


def list_depends_on(actor: Actor, query: Mapping[str, Any]) -> tuple[int | str, ...] | None:
    """What a list depends on beside its question: None for another's, or by the time."""
    if query["owner_id"] not in {None, actor.id} or "overdue" in query["filters"]:
        return None
    return actor.id, actor.tasks_generation, actor.role, actor.time_zone
