"""Accounts over HTTP, as administrators manage them."""

from typing import Any

from app.audit.schemas import AUDIT_PAGE
from app.auth.guard import requires_session
from app.auth.models import Actor, User
from app.auth.schemas import PAGE_QUERY
from app.errors import Conflict
from app.http.blueprint import Blueprint
from app.http.pages import Page
from app.users import services
from app.users.guard import for_admins, for_readers
from app.users.schemas import ACCOUNT, ACCOUNT_PAGE, CHANGE_USER, USER_QUERY

blueprint = Blueprint(
    "users", __name__, url_prefix="/api/v1/users", description="Accounts, for administrators."
)


@blueprint.get("")
@requires_session()
@for_admins
@blueprint.arguments(USER_QUERY, location="query")
@blueprint.response(200, ACCOUNT_PAGE)
def list_users(actor: Actor, query: dict[str, Any]) -> Page:
    """List all accounts, filtered and sorted."""
    return services.list_users(actor, **query)


@blueprint.get("/<row_id:user_id>")
@requires_session()
@for_readers
@blueprint.response(200, ACCOUNT)
def read_user(actor: Actor, user_id: int) -> User:
    """Read an account; one's own without being an administrator."""
    return services.get_user(actor, user_id)


@blueprint.patch("/<row_id:user_id>")
@requires_session()
@for_admins
@blueprint.arguments(CHANGE_USER)
@blueprint.response(200, ACCOUNT)
def change_user(actor: Actor, changes: dict[str, Any], user_id: int) -> User:
    """Change the role of an account, disable or enable it."""
    return services.change_user(actor, user_id, changes)


@blueprint.delete("/<row_id:user_id>")
@requires_session()
@for_admins
@blueprint.refuses(Conflict)
@blueprint.response(204)
def delete_user(actor: Actor, user_id: int) -> None:
    """Delete an account and all that is its own."""
    services.delete_user(actor, user_id)


@blueprint.get("/<row_id:user_id>/audit")
@requires_session()
@for_admins
@blueprint.arguments(PAGE_QUERY, location="query")
@blueprint.response(200, AUDIT_PAGE)
def list_user_events(actor: Actor, query: dict[str, Any], user_id: int) -> Page:
    """List what was done to an account and in its name, the newest first."""
    return services.list_events(actor, user_id, **query)
