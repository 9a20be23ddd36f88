"""Administration of users, over HTTP and from the command line."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, bindparam, or_, select, true

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth.models import USER_COLUMNS, Role, User, identity_key
from app.auth.services.account import ensure_not_last_admin, remove_user
from app.auth.services.credentials import replace_password
from app.db.engine import for_update
from app.db.pagination import KeysetPaginator, Page
from app.db.transactions import commit
from app.errors import NotFound
from app.extensions import db
from app.users import permissions
from app.users.permissions import AnyActor

_is_disabled = User.disabled_at.is_not(None)
USERS = KeysetPaginator(
    name="users",
    columns=(*USER_COLUMNS, _is_disabled.label("disabled")),
    row_id=User.id,
    scope=true(),
    sorts={"created_at": User.created_at, "username": User.username_key},
    filters={
        "username": User.username_key == bindparam("username"),
        "email": User.email_key == bindparam("email"),
        "role": User.role == bindparam("role"),
        "disabled": _is_disabled == bindparam("disabled"),
        "email_verified": User.email_verified == bindparam("email_verified"),
        "created_after": User.created_at > bindparam("created_after"),
    },
)


def list_users(
    actor: AnyActor, *, filters: Mapping[str, Any], sort: str, limit: int, cursor: str | None
) -> Page:
    """Return a page of all users. Raises Forbidden or InvalidCursor."""
    permissions.require_admin(actor)
    keys = {name: identity_key(filters[name]) for name in ("username", "email") if name in filters}
    values = {**filters, **keys}
    return USERS.page(
        values=values,
        filters=filters.keys(),
        sort=sort,
        limit=limit,
        cursor=cursor,
        context=sorted(values.items()),
    )


def get_user(actor: AnyActor, user_id: int, *, lock: bool = False) -> User:
    """Return a user. Raises NotFound, or Forbidden for another user if the actor is no admin."""
    permissions.require_admin_or_self(actor, user_id)
    statement = select(User).where(User.id == user_id)
    return _get(for_update(statement) if lock else statement)


def find_user(actor: AnyActor, name: str) -> User:
    """Return a user by its username or email address. Raises Forbidden or NotFound."""
    permissions.require_admin(actor)
    key = identity_key(name)
    return _get(select(User).where(or_(User.username_key == key, User.email_key == key)))


def list_events(actor: AnyActor, user_id: int, *, limit: int, cursor: str | None) -> Page:
    """Return a page of the audit events about a user, who may have been deleted.

    Raises Forbidden, or NotFound if there is neither the user nor any event.
    """
    permissions.require_admin(actor)
    page = audit.list_events(user_id, limit=limit, cursor=cursor)
    if not page.rows:
        _get(select(User).where(User.id == user_id))
    return page


def update_user(actor: AnyActor, user_id: int, changes: Mapping[str, Any]) -> User:
    """Change the ``role`` of a user, or whether it is ``disabled``.

    Sessions of a disabled user are rejected, not ended: they work again once it is enabled.
    Raises Forbidden, NotFound, or Conflict for the last administrator.
    """
    permissions.require_admin(actor)
    if changes.get("role") == Role.user or changes.get("disabled"):
        ensure_not_last_admin(user_id)
    statement = for_update(select(User).where(User.id == user_id))
    user = _get(statement.execution_options(populate_existing=True))
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    now = clock.now()
    if "role" in changed:
        details = {"from": user.role, "to": changed["role"]}
        audit.record(Event.role_changed, user_id=user_id, actor_id=actor.id, **details)
        user.role = changed["role"]
    if "disabled" in changed:
        user.disabled_at = now if changed["disabled"] else None
        event = Event.account_disabled if changed["disabled"] else Event.account_enabled
        audit.record(event, user_id=user_id, actor_id=actor.id)
    if changed:
        user.updated_at = now
    return commit(user)


def reset_password(actor: AnyActor, user_id: int, *, new_password: str) -> User:
    """Set a new password for a user, and end its sessions and personal access tokens.

    Raises Forbidden, NotFound, or ValidationFailed for a weak password.
    """
    user = get_user(actor, user_id, lock=True)
    replace_password(user, new_password, actor_id=actor.id)
    return commit(user)


def delete_user(actor: AnyActor, user_id: int) -> None:
    """Delete a user with all its data.

    Raises Forbidden, NotFound, or Conflict for the last administrator.
    """
    permissions.require_admin(actor)
    if not remove_user(user_id, actor_id=actor.id):
        raise NotFound
    commit()


def _get(statement: Select[User]) -> User:
    user = db.session.scalar(statement)
    if user is None:
        raise NotFound
    return user
