"""Accounts and sessions over HTTP."""

from typing import Any

from flask import current_app, request

from app.auth import services
from app.auth.guard import requires_refresh_token, requires_token
from app.auth.models import Actor, User
from app.auth.schemas import (
    ACCESS,
    CHANGE_ACCOUNT,
    CHANGE_PASSWORD,
    LOGIN,
    LOGIN_ANSWER,
    PAGE_QUERY,
    PAIR,
    REAUTHENTICATE,
    REGISTER,
    SESSION_PAGE,
    USER,
)
from app.auth.tokens import Claims, Pair
from app.errors import Conflict, FreshTokenRequired, InvalidCredentials, TokenReused
from app.http.blueprint import Blueprint
from app.http.pages import Page

blueprint = Blueprint(
    "auth", __name__, url_prefix="/api/v1/auth", description="Accounts and sessions."
)

NO_STORE = {"Cache-Control": "no-store"}
Answer = tuple[Any, dict[str, str]]


@blueprint.post("/register")
@blueprint.arguments(REGISTER)
@blueprint.response(201, USER)
def register(account: dict[str, Any]) -> Answer:
    """Open an account."""
    location = f"{current_app.config['PUBLIC_URL']}/api/v1/auth/me"
    return services.register(**account), {"Location": location}


@blueprint.post("/login")
@blueprint.refuses(InvalidCredentials)
@blueprint.arguments(LOGIN)
@blueprint.response(200, LOGIN_ANSWER)
def log_in(credentials: dict[str, Any]) -> Answer:
    """Open a session, for its tokens."""
    login = services.log_in(**credentials, ip_address=request.remote_addr, user_agent=user_agent())
    return {**PAIR.dump(login.pair), "user": USER.from_model(login.user)}, NO_STORE


@blueprint.post("/refresh")
@requires_refresh_token
@blueprint.refuses(TokenReused)
@blueprint.response(200, PAIR)
def refresh(claims: Claims) -> tuple[Pair, dict[str, str]]:
    """Spend a refresh token for a new pair of tokens."""
    return services.refresh(claims), NO_STORE


@blueprint.post("/reauthenticate")
@requires_token()
@blueprint.refuses(InvalidCredentials)
@blueprint.arguments(REAUTHENTICATE)
@blueprint.response(200, ACCESS)
def reauthenticate(actor: Actor, proof: dict[str, str]) -> tuple[Pair, dict[str, str]]:
    """Prove the password anew, for a fresh access token of the same session."""
    return services.reauthenticate(actor, **proof), NO_STORE


@blueprint.post("/logout")
@requires_token(types=("access", "refresh"))
@blueprint.response(204)
def log_out(actor: Actor) -> None:
    """End the session; its tokens die at once."""
    services.log_out(actor)


@blueprint.get("/sessions")
@requires_token()
@blueprint.arguments(PAGE_QUERY, location="query")
@blueprint.response(200, SESSION_PAGE)
def list_sessions(actor: Actor, query: dict[str, Any]) -> Page:
    """List one's own sessions, the newest first."""
    return services.list_sessions(actor, **query)


@blueprint.delete("/sessions")
@requires_token()
@blueprint.response(204)
def end_other_sessions(actor: Actor) -> None:
    """End all of one's own sessions but the current one."""
    services.end_other_sessions(actor)


@blueprint.delete("/sessions/<token_id:session_id>")
@requires_token()
@blueprint.response(204)
def end_session(actor: Actor, session_id: str) -> None:
    """End one of one's own sessions."""
    services.end_session(actor, session_id)


@blueprint.get("/me")
@requires_token()
@blueprint.response(200, USER)
def read_account(actor: Actor) -> User:
    """Read one's own account."""
    return services.get_account(actor)


@blueprint.patch("/me")
@requires_token()
@blueprint.refuses(FreshTokenRequired)
@blueprint.arguments(CHANGE_ACCOUNT)
@blueprint.response(200, USER)
def change_account(actor: Actor, changes: dict[str, Any]) -> User:
    """Change one's own name, time zone or, with a fresh token, address."""
    return services.change_account(actor, changes)


@blueprint.delete("/me")
@requires_token(fresh=True)
@blueprint.refuses(Conflict)
@blueprint.response(204)
def delete_account(actor: Actor) -> None:
    """Delete one's own account and all that is its own."""
    services.delete_account(actor)


@blueprint.put("/password")
@requires_token(fresh=True)
@blueprint.refuses(InvalidCredentials)
@blueprint.arguments(CHANGE_PASSWORD)
@blueprint.response(204)
def change_password(actor: Actor, change: dict[str, str]) -> None:
    """Set a new password; every other session ends."""
    services.change_password(actor, **change)


def user_agent() -> str | None:
    """What the client calls itself, shortened, and without what is not for reading."""
    named = "".join(filter(str.isprintable, request.headers.get("User-Agent", "")))
    return named.encode(errors="replace").decode()[:255] or None
