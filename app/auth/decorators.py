"""Authentication by bearer tokens (RFC 6750), and the view decorators that require one."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any

from flask import current_app, request
from sqlalchemy.exc import IntegrityError

from app import errors
from app.api.operation_meta import SecurityScheme, View, annotate, get_meta
from app.auth import jwt
from app.auth.models import Actor, Scope, TokenType
from app.auth.services import account, personal_tokens, sessions
from app.request_context import request_context

RESULT = "task_api.authentication"
# How a view may fail if its user was deleted in the meantime.
GONE = (errors.NotFound, errors.InvalidCredentials, IntegrityError)

SCHEMES: Mapping[TokenType, SecurityScheme] = {
    "access": SecurityScheme("accessToken", "The access token from login or refresh."),
    "refresh": SecurityScheme("refreshToken", "The newest refresh token of the session."),
    "personal": SecurityScheme(
        "personalToken",
        "A personal access token with the scope that the operation names.",
        format=f"{personal_tokens.PREFIX}...",
    ),
}
PROBLEMS = (
    errors.AuthenticationRequired,
    errors.InvalidToken,
    errors.TokenExpired,
    errors.TokenRevoked,
    errors.WrongTokenType,
    errors.AccountDisabled,
)


def token_required(scope: Scope) -> Callable[[View], View]:
    """Require a session, or a personal access token with ``scope``.

    The view gets the Actor as its first argument.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            actor = authenticate_request("access", "personal")
            if scope not in actor.scopes:
                raise errors.InsufficientScope(scope)
            try:
                return view(actor, *args, **kwargs)
            except GONE:
                account.ensure_exists(actor)
                raise

        tokens = (SCHEMES["access"], replace(SCHEMES["personal"], scope=scope.value))
        return annotate(wrapper, *PROBLEMS, errors.InsufficientScope, tokens=tokens)

    return decorator


def session_required(
    *, fresh: bool = False, types: tuple[TokenType, ...] = ("access",)
) -> Callable[[View], View]:
    """Require a session's token of one of ``types``; ``fresh`` requires a fresh access token.

    The view gets the Actor as its first argument.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            actor = authenticate_request(*types)
            if fresh and not actor.fresh:
                raise errors.FreshTokenRequired
            try:
                return view(actor, *args, **kwargs)
            except GONE:
                account.ensure_exists(actor)
                raise

        problems = (*PROBLEMS, errors.FreshTokenRequired) if fresh else PROBLEMS
        return annotate(wrapper, *problems, tokens=tuple(SCHEMES[type_] for type_ in types))

    return decorator


def refresh_token_required(view: View) -> View:
    """Require a refresh token.

    The view gets its Claims as the first argument; whether it was used is for the service to check.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        token = bearer_token()
        if token.startswith(personal_tokens.PREFIX):
            raise errors.WrongTokenType
        claims = jwt.decode(token)
        if claims.type != "refresh":
            raise errors.WrongTokenType
        return view(claims, *args, **kwargs)

    return annotate(wrapper, *PROBLEMS, tokens=(SCHEMES["refresh"],))


def authenticate_request(*types: TokenType) -> Actor:
    """Return the actor of the current request, which needs a token of one of ``types``.

    Raises AuthenticationRequired, InvalidToken, TokenExpired, TokenRevoked, AccountDisabled or
    WrongTokenType. The result, an actor or a problem, is computed once per request.
    """
    # Not in ``g``: several requests may share one application context.
    environ = request.environ
    if RESULT not in environ:
        try:
            token = bearer_token()
            policy = {"admins_require_mfa": current_app.config["REQUIRE_ADMIN_SECOND_FACTOR"]}
            if token.startswith(personal_tokens.PREFIX):
                environ[RESULT] = personal_tokens.authenticate(token, **policy)
            else:
                environ[RESULT] = sessions.authenticate(jwt.decode(token), **policy)
            request_context().user_id = environ[RESULT].id
        except errors.Problem as problem:
            environ[RESULT] = problem
    if isinstance(environ[RESULT], errors.Problem):
        raise environ[RESULT]
    actor: Actor = environ[RESULT]
    if actor.token_type not in types:
        raise errors.WrongTokenType
    return actor


def bearer_token() -> str:
    """Return the bearer token of the current request.

    Raises AuthenticationRequired if there is none, InvalidToken if it is malformed.
    """
    header = request.environ.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = header.partition(" ")
    token = token.lstrip(" ")
    if scheme.lower() != "bearer":
        raise errors.AuthenticationRequired
    # A server joins two Authorization headers with a comma.
    if not token or " " in token or "," in token or not token.isascii():
        raise errors.InvalidToken
    return str(token)


def current_user_id() -> int | None:
    """Return the id of the user that rate limits count the request for.

    Return None if the operation takes no access token, or authentication fails: the decorator of
    the view raises that error.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    if view is not None and SCHEMES["access"] in get_meta(view).tokens:
        with suppress(errors.Problem):
            return authenticate_request(*SCHEMES).id
    return None
