"""Endpoints of users, for administrators."""

from typing import Any

from app.api.blueprint import Blueprint
from app.api.schemas import PaginationSchema
from app.audit.schemas import AuditEventPageSchema
from app.auth.decorators import session_required
from app.auth.models import Actor, User
from app.db.pagination import Page
from app.errors import Conflict
from app.users import schemas, services
from app.users.decorators import admin_or_self_required, admin_required

blp = Blueprint("users", __name__, description="Users, for administrators.")


@blp.get("")
@session_required()
@admin_required
@blp.arguments(schemas.UserQuerySchema, location="query")
@blp.response(200, schemas.AccountPageSchema)
def list_users(actor: Actor, query: dict[str, Any]) -> Page:
    """List all users."""
    return services.list_users(actor, **query)


@blp.get("/<row_id:user_id>")
@session_required()
@admin_or_self_required
@blp.response(200, schemas.AccountSchema)
def read_user(actor: Actor, user_id: int) -> User:
    """Get a user; other users' data is for administrators."""
    return services.get_user(actor, user_id)


@blp.patch("/<row_id:user_id>")
@session_required()
@admin_required
@blp.arguments(schemas.UpdateUserSchema(partial=True))
@blp.response(200, schemas.AccountSchema)
def update_user(actor: Actor, changes: dict[str, Any], user_id: int) -> User:
    """Change the role of a user, disable or enable it."""
    return services.update_user(actor, user_id, changes)


@blp.delete("/<row_id:user_id>")
@session_required()
@admin_required
@blp.alt_response(Conflict)
@blp.response(204)
def delete_user(actor: Actor, user_id: int) -> None:
    """Delete a user with all its data."""
    services.delete_user(actor, user_id)


@blp.get("/<row_id:user_id>/audit")
@session_required()
@admin_required
@blp.arguments(PaginationSchema, location="query")
@blp.response(200, AuditEventPageSchema)
def list_user_events(actor: Actor, query: dict[str, Any], user_id: int) -> Page:
    """List the audit events of a user, newest first."""
    return services.list_events(actor, user_id, **query)
