"""Accounts and sessions over HTTP."""

from typing import Any

from flask import current_app

from app.audit import services as audit
from app.audit.schemas import AUDIT_PAGE
from app.auth import personal_tokens, services
from app.auth.guard import requires_refresh_token, requires_session, requires_token
from app.auth.models import Actor, PersonalToken, Scope, User, identity_key
from app.auth.schemas import (
    ACCESS,
    CHANGE_ACCOUNT,
    CHANGE_PASSWORD,
    CREATE_TOKEN,
    LOGIN,
    LOGIN_ANSWER,
    NEW_TOKEN,
    PAGE_QUERY,
    PAIR,
    PERSONAL_TOKEN,
    PERSONAL_TOKEN_PAGE,
    REAUTHENTICATE,
    REGISTER,
    SESSION_PAGE,
    USER,
)
from app.auth.services import Login
from app.auth.tokens import Claims, Pair
from app.errors import (
    AccountDisabled,
    Conflict,
    FreshTokenRequired,
    InvalidCredentials,
    SecondFactorRequired,
    TokenReused,
)
from app.http import limits
from app.http.answers import NO_STORE
from app.http.blueprint import Blueprint
from app.http.limits import Rule, limited
from app.http.pages import Page

blueprint = Blueprint(
    "auth", __name__, url_prefix="/api/v1/auth", description="Accounts and sessions."
)

Answer = tuple[Any, dict[str, str]]


def login_answer(login: Login) -> Answer:
    """Return what answers a login: the tokens, and whose they are."""
    return {**PAIR.dump(login.pair), "user": login.user}, NO_STORE


@blueprint.post("/register")
@limited(Rule.register)
@blueprint.arguments(REGISTER)
@blueprint.response(201, USER)
def register(account: dict[str, Any]) -> Answer:
    """Open an account."""
    limits.count_account(Rule.register_account, "register", identity_key(account["email"]))
    location = f"{current_app.config['PUBLIC_URL']}/api/v1/auth/me"
    return services.register(**account), {"Location": location}


@blueprint.post("/login")
@limited(Rule.login)
@blueprint.refuses(InvalidCredentials, SecondFactorRequired, AccountDisabled)
@blueprint.arguments(LOGIN)
@blueprint.response(200, LOGIN_ANSWER)
def log_in(credentials: dict[str, Any]) -> Answer:
    """Open a session, for its tokens."""
    return login_answer(services.log_in(**credentials))


@blueprint.post("/refresh")
@limited(Rule.refresh)
@requires_refresh_token
@blueprint.refuses(TokenReused)
@blueprint.response(200, PAIR)
def refresh(claims: Claims) -> tuple[Pair, dict[str, str]]:
    """Spend a refresh token for a new pair of tokens."""
    return services.refresh(claims), NO_STORE


@blueprint.post("/reauthenticate")
@requires_session()
@blueprint.refuses(InvalidCredentials)
@blueprint.arguments(REAUTHENTICATE)
@blueprint.response(200, ACCESS)
def reauthenticate(actor: Actor, proof: dict[str, str]) -> tuple[Pair, dict[str, str]]:
    """Prove the password anew, for a fresh access token of the same session."""
    return services.reauthenticate(actor, **proof), NO_STORE


@blueprint.post("/logout")
@requires_session(types=("access", "refresh"))
@blueprint.response(204)
def log_out(actor: Actor) -> None:
    """End the session; its tokens die at once."""
    services.log_out(actor)


@blueprint.get("/sessions")
@requires_session()
@blueprint.arguments(PAGE_QUERY, location="query")
@blueprint.response(200, SESSION_PAGE)
def list_sessions(actor: Actor, query: dict[str, Any]) -> Page:
    """List one's own sessions, the newest first."""
    return services.list_sessions(actor, **query)


@blueprint.delete("/sessions")
@requires_session()
@blueprint.response(204)
def end_other_sessions(actor: Actor) -> None:
    """End all of one's own sessions but the current one."""
    services.end_other_sessions(actor)


@blueprint.delete("/sessions/<token_id:session_id>")
@requires_session()
@blueprint.response(204)
def end_session(actor: Actor, session_id: str) -> None:
    """End one of one's own sessions."""
    services.end_session(actor, session_id)


@blueprint.get("/me")
@requires_token(Scope.account_read)
@blueprint.response(200, USER)
def read_account(actor: Actor) -> User:
    """Read one's own account."""
    return services.get_account(actor)


@blueprint.patch("/me")
@requires_session()
@blueprint.refuses(FreshTokenRequired)
@blueprint.arguments(CHANGE_ACCOUNT)
@blueprint.response(200, USER)
def change_account(actor: Actor, changes: dict[str, Any]) -> User:
    """Change one's own name, time zone or, with a fresh token, address."""
    return services.change_account(actor, changes)


@blueprint.delete("/me")
@requires_session(fresh=True)
@blueprint.refuses(Conflict)
@blueprint.response(204)
def delete_account(actor: Actor) -> None:
    """Delete one's own account and all that is its own."""
    services.delete_account(actor)


@blueprint.put("/password")
@requires_session(fresh=True)
@blueprint.refuses(InvalidCredentials)
@blueprint.arguments(CHANGE_PASSWORD)
@blueprint.response(204)
def change_password(actor: Actor, change: dict[str, str]) -> None:
    """Set a new password; every other session ends."""
    services.change_password(actor, **change)


@blueprint.get("/me/audit")
@requires_session()
@blueprint.arguments(PAGE_QUERY, location="query")
@blueprint.response(200, AUDIT_PAGE)
def list_own_events(actor: Actor, query: dict[str, Any]) -> Page:
    """List what was done to one's own account and in its name, the newest first."""
    return audit.list_events(actor.id, **query)


@blueprint.get("/tokens")
@requires_session()
@blueprint.arguments(PAGE_QUERY, location="query")
@blueprint.response(200, PERSONAL_TOKEN_PAGE)
def list_personal_tokens(actor: Actor, query: dict[str, Any]) -> Page:
    """List one's own personal access tokens, the newest first."""
    return personal_tokens.list_tokens(actor, **query)


@blueprint.post("/tokens")
@requires_session(fresh=True)
@blueprint.arguments(CREATE_TOKEN)
@blueprint.response(201, NEW_TOKEN)
def create_personal_token(actor: Actor, asked: dict[str, Any]) -> Answer:
    """Make a personal access token; its text is told this once."""
    made = personal_tokens.create_token(actor, **asked)
    location = f"{current_app.config['PUBLIC_URL']}/api/v1/auth/tokens/{made.held.id}"
    body = {**PERSONAL_TOKEN.from_model(made.held), "token": made.token}
    return body, NO_STORE | {"Location": location}


@blueprint.get("/tokens/<row_id:token_id>")
@requires_session()
@blueprint.response(200, PERSONAL_TOKEN)
def read_personal_token(actor: Actor, token_id: int) -> PersonalToken:
    """Read one of one's own personal access tokens; its text is not told again."""
    return personal_tokens.get_token(actor, token_id)


@blueprint.delete("/tokens/<row_id:token_id>")
@requires_session()
@blueprint.response(204)
def delete_personal_token(actor: Actor, token_id: int) -> None:
    """Delete one of one's own personal access tokens; it is refused at once."""
    personal_tokens.delete_token(actor, token_id)
