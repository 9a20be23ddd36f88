"""Endpoints of registration, login, sessions, the own account and personal access tokens."""

from typing import Any

from app.api.blueprint import Blueprint
from app.api.http import NO_STORE, location
from app.api.rate_limits import rate_limit
from app.api.schemas import PaginationSchema
from app.audit import services as audit
from app.audit.schemas import AuditEventPageSchema
from app.auth import schemas
from app.auth.decorators import refresh_token_required, session_required, token_required
from app.auth.jwt import Claims
from app.auth.models import Actor, PersonalToken, Scope, User, identity_key
from app.auth.services import account, credentials, personal_tokens, sessions
from app.db.pagination import Page
from app.errors import (
    AccountDisabled,
    Conflict,
    FreshTokenRequired,
    InvalidCredentials,
    SecondFactorRequired,
    TokenReused,
)
from app.extensions import limiter
from app.rate_limiter import RateLimit

blp = Blueprint("auth", __name__, description="Registration, login and sessions.")

Response = tuple[Any, dict[str, str]]


@blp.post("/register")
@blp.arguments(schemas.RegisterSchema)
@blp.response(201, schemas.UserSchema)
@rate_limit(RateLimit.register)
def register(data: dict[str, Any]) -> Response:
    """Register a user."""
    limiter.count_attempt(RateLimit.register_account, "register", identity_key(data["email"]))
    return account.register(**data), location("auth.read_account")


@blp.post("/login")
@blp.alt_response(InvalidCredentials, SecondFactorRequired, AccountDisabled)
@blp.arguments(schemas.LoginSchema)
@blp.response(200, schemas.LoginResponseSchema)
@rate_limit(RateLimit.login)
def log_in(data: dict[str, Any]) -> Response:
    """Log in: create a session and get its tokens."""
    return credentials.log_in(**data), NO_STORE


@blp.post("/refresh")
@rate_limit(RateLimit.refresh)
@refresh_token_required
@blp.alt_response(TokenReused)
@blp.response(200, schemas.TokenPairSchema)
def refresh(claims: Claims) -> Response:
    """Exchange a refresh token for a new pair of tokens."""
    return sessions.refresh(claims), NO_STORE


@blp.post("/reauthenticate")
@session_required()
@blp.alt_response(InvalidCredentials)
@blp.arguments(schemas.ReauthenticateSchema)
@blp.response(200, schemas.AccessTokenSchema)
def reauthenticate(actor: Actor, data: dict[str, str]) -> Response:
    """Verify the password again and get a fresh access token for the same session."""
    return credentials.reauthenticate(actor, **data), NO_STORE


@blp.post("/logout")
@session_required(types=("access", "refresh"))
@blp.response(204)
def log_out(actor: Actor) -> None:
    """Log out: end the current session and revoke its tokens."""
    sessions.end_session(actor, actor.session_id)


@blp.get("/sessions")
@session_required()
@blp.arguments(PaginationSchema, location="query")
@blp.response(200, schemas.SessionPageSchema)
def list_sessions(actor: Actor, query: dict[str, Any]) -> Page:
    """List your sessions, newest first."""
    return sessions.list_sessions(actor, **query)


@blp.delete("/sessions")
@session_required()
@blp.response(204)
def end_other_sessions(actor: Actor) -> None:
    """End all your sessions except the current one."""
    sessions.end_other_sessions(actor)


@blp.delete("/sessions/<token_id:session_id>")
@session_required()
@blp.response(204)
def end_session(actor: Actor, session_id: str) -> None:
    """End one of your sessions."""
    sessions.end_session(actor, session_id)


@blp.get("/me")
@token_required(Scope.account_read)
@blp.response(200, schemas.UserSchema)
def read_account(actor: Actor) -> User:
    """Get your account."""
    return account.get_account(actor)


@blp.patch("/me")
@session_required()
@blp.alt_response(FreshTokenRequired)
@blp.arguments(schemas.UpdateAccountSchema)
@blp.response(200, schemas.UserSchema)
def update_account(actor: Actor, changes: dict[str, Any]) -> User:
    """Update your account; a new email address requires a fresh token."""
    return account.update_account(actor, changes)


@blp.delete("/me")
@session_required(fresh=True)
@blp.alt_response(Conflict)
@blp.response(204)
def delete_account(actor: Actor) -> None:
    """Delete your account with all its data."""
    account.delete_account(actor)


@blp.put("/password")
@session_required(fresh=True)
@blp.alt_response(InvalidCredentials)
@blp.arguments(schemas.UpdatePasswordSchema)
@blp.response(204)
def change_password(actor: Actor, data: dict[str, str]) -> None:
    """Change your password; all other sessions end."""
    credentials.change_password(actor, **data)


@blp.get("/me/audit")
@session_required()
@blp.arguments(PaginationSchema, location="query")
@blp.response(200, AuditEventPageSchema)
def list_own_events(actor: Actor, query: dict[str, Any]) -> Page:
    """List the audit events of your account, newest first."""
    return audit.list_events(actor.id, **query)


@blp.get("/tokens")
@session_required()
@blp.arguments(PaginationSchema, location="query")
@blp.response(200, schemas.PersonalTokenPageSchema)
def list_personal_tokens(actor: Actor, query: dict[str, Any]) -> Page:
    """List your personal access tokens, newest first."""
    return personal_tokens.list_tokens(actor, **query)


@blp.post("/tokens")
@session_required(fresh=True)
@blp.arguments(schemas.CreateTokenSchema)
@blp.response(201, schemas.NewTokenSchema)
def create_personal_token(actor: Actor, data: dict[str, Any]) -> Response:
    """Create a personal access token; only this response has its text."""
    personal_token, text = personal_tokens.create_token(actor, **data)
    body = {**schemas.PersonalTokenSchema().dump(personal_token), "token": text}
    headers = location("auth.read_personal_token", token_id=personal_token.id)
    return body, NO_STORE | headers


@blp.get("/tokens/<row_id:token_id>")
@session_required()
@blp.response(200, schemas.PersonalTokenSchema)
def read_personal_token(actor: Actor, token_id: int) -> PersonalToken:
    """Get one of your personal access tokens, without its text."""
    return personal_tokens.get_token(actor, token_id)


@blp.delete("/tokens/<row_id:token_id>")
@session_required()
@blp.response(204)
def delete_personal_token(actor: Actor, token_id: int) -> None:
    """Delete one of your personal access tokens; it is revoked at once."""
    personal_tokens.delete_token(actor, token_id)
