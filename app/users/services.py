"""The rules of administering accounts, over HTTP and from the command line."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, or_, select, true

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import services as accounts
from app.auth.models import Role, User, identity_key
from app.errors import NotFound
from app.extensions import db
from app.http.pages import Listing, Page
from app.transactions import commit
from app.users import policy
from app.users.policy import Administrator
from app.users.schemas import ACCOUNT

USERS = Listing(
    name="users",
    schema=ACCOUNT,
    row_id=User.id,
    scope=true(),
    sorts={"created_at": User.created_at, "username": User.username_key},
    filters={
        "username": User.username_key == bindparam("username"),
        "email": User.email_key == bindparam("email"),
        "role": User.role == bindparam("role"),
        "disabled": User.disabled == bindparam("disabled"),
        "email_verified": User.email_verified == bindparam("email_verified"),
        "created_after": User.created_at > bindparam("created_after"),
    },
)


def list_users(
    actor: Administrator,
    *,
    filters: Mapping[str, Any],
    sort: str,
    limit: int,
    cursor: str | None,
) -> Page:
    """Return a page of all accounts. Raises Forbidden, or InvalidCursor for another list's."""
    policy.require_admin(actor)
    keys = {name: identity_key(filters[name]) for name in ("username", "email") if name in filters}
    values = {**filters, **keys}
    return USERS.page(
        values=values,
        filters=filters.keys(),
        sort=sort,
        limit=limit,
        cursor=cursor,
        bound_to=sorted(values.items()),
    )


def get_user(actor: Administrator, user_id: int) -> User:
    """Return an account. Raises NotFound, or Forbidden to others than itself and administrators."""
    policy.require_reader(actor, user_id)
    return _one(select(User).where(User.id == user_id))


def find_user(actor: Administrator, name: str) -> User:
    """Return the account of a name or an address, which no name looks like.

    Raises Forbidden, NotFound.
    """
    policy.require_admin(actor)
    key = identity_key(name)
    return _one(select(User).where(or_(User.username_key == key, User.email_key == key)))


def list_events(actor: Administrator, user_id: int, *, limit: int, cursor: str | None) -> Page:
    """Return a page of what was done to an account, which may be gone.

    Raises Forbidden, or NotFound where neither it nor any event of it is there.
    """
    policy.require_admin(actor)
    page = audit.list_events(user_id, limit=limit, cursor=cursor)
    if not page.rows:
        _one(select(User).where(User.id == user_id))
    return page


def change_user(actor: Administrator, user_id: int, changes: Mapping[str, Any]) -> User:
    """Give an account another ``role``, or have it ``disabled`` or not.

    The sessions of a disabled account are refused, not ended: enabled again, they go on.
    Raises Forbidden, NotFound, or Conflict for the last administrator.
    """
    policy.require_admin(actor)
    if changes.get("role") == Role.user or changes.get("disabled"):
        accounts.keep_one_admin(user_id)
    user = _lock(user_id)
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    now = clock.now()
    if "role" in changed:
        said = {"from": user.role, "to": changed["role"]}
        audit.record(Event.role_changed, user_id=user_id, actor_id=actor.id, **said)
        user.role = changed["role"]
    if "disabled" in changed:
        user.disabled_at = now if changed["disabled"] else None
        event = Event.account_disabled if changed["disabled"] else Event.account_enabled
        audit.record(event, user_id=user_id, actor_id=actor.id)
    if changed:
        user.updated_at = now
    return commit(user)


def reset_password(actor: Administrator, user_id: int, *, new_password: str) -> User:
    """Set a new password for an account, and end its sessions and personal tokens.

    Raises Forbidden, NotFound, or ValidationFailed for a password that is easily guessed.
    """
    user = get_user(actor, user_id)
    accounts.replace_password(user, new_password, actor_id=actor.id)
    return commit(user)


def delete_user(actor: Administrator, user_id: int) -> None:
    """Delete an account and all that is its own.

    Raises Forbidden, NotFound, or Conflict for the last administrator.
    """
    policy.require_admin(actor)
    if not accounts.remove_account(user_id, actor_id=actor.id):
        raise NotFound
    commit()


def _lock(user_id: int) -> User:
    locking = select(User).where(User.id == user_id).with_for_update()
    return _one(locking.execution_options(locks_rows=True, populate_existing=True))


def _one(statement: Any) -> User:
    user: User | None = db.session.scalar(statement)
    if user is None:
        raise NotFound
    return user
