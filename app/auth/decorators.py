"""View decorators that require a bearer token (RFC 6750)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any

from flask import current_app, request

from app.api.operation_meta import SecurityScheme, View, annotate, get_meta
from app.auth import jwt
from app.auth.authentication import authenticate_request, bearer_token
from app.auth.models import Actor, Scope, TokenType
from app.auth.services import personal_tokens
from app.errors import (
    AccountDisabled,
    AuthenticationRequired,
    FreshTokenRequired,
    InsufficientScope,
    InvalidToken,
    Problem,
    TokenExpired,
    TokenRevoked,
    WrongTokenType,
)

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
    AuthenticationRequired,
    InvalidToken,
    TokenExpired,
    TokenRevoked,
    WrongTokenType,
    AccountDisabled,
)


def token_required(scope: Scope) -> Callable[[View], View]:
    """Require a session, or a personal access token with ``scope``.

    The view gets the Actor as its first argument.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            actor = _authenticate("access", "personal")
            if scope not in actor.scopes:
                raise InsufficientScope(scope)
            return view(actor, *args, **kwargs)

        tokens = (SCHEMES["access"], replace(SCHEMES["personal"], scope=scope.value))
        return annotate(wrapper, *PROBLEMS, InsufficientScope, tokens=tokens)

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
            actor = _authenticate(*types)
            if fresh and not actor.fresh:
                raise FreshTokenRequired
            return view(actor, *args, **kwargs)

        problems = (*PROBLEMS, FreshTokenRequired) if fresh else PROBLEMS
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
            raise WrongTokenType
        claims = jwt.decode(token)
        if claims.type != "refresh":
            raise WrongTokenType
        return view(claims, *args, **kwargs)

    return annotate(wrapper, *PROBLEMS, tokens=(SCHEMES["refresh"],))


def _authenticate(*types: TokenType) -> Actor:
    actor = authenticate_request()
    if actor.token_type not in types:
        raise WrongTokenType
    return actor


def authenticate_for_rate_limits() -> None:
    """Authenticate the request early, so that rate limits count it for its user.

    If that fails, the decorator of the view raises the error.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    if view is not None and SCHEMES["access"] in get_meta(view).tokens:
        with suppress(Problem):
            authenticate_request()
