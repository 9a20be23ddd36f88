"""The door of every route that is not public: a good bearer token, or 401 (RFC 6750)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from flask import request

from app.auth import personal_tokens, services, tokens
from app.auth.models import Actor, Scope
from app.auth.tokens import Claims, TokenType
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
from app.http import limits
from app.http.context import itself
from app.http.promises import SecurityScheme, View, promise
from app.origin import origin

SCHEMES: Mapping[TokenType, SecurityScheme] = {
    "access": SecurityScheme("accessToken", "The access token that login and refresh give."),
    "refresh": SecurityScheme("refreshToken", "The refresh token that came last."),
}
PERSONAL = SecurityScheme(
    "personalToken",
    "A personal access token; the operation names the scope that it needs.",
    format=f"{personal_tokens.PREFIX}...",
)
REFUSALS = (
    AuthenticationRequired,
    InvalidToken,
    TokenExpired,
    TokenRevoked,
    WrongTokenType,
    AccountDisabled,
)


def bearer_token() -> str:
    """Return the token that the request carries.

    Raises AuthenticationRequired where there is none, InvalidToken where there is not just one.
    """
    header = itself(request).environ.get("HTTP_AUTHORIZATION")
    if not header:
        raise AuthenticationRequired
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise AuthenticationRequired
    # Two headers arrive joined by a comma, which no token holds.
    if not token or " " in token or "," in token or not token.isascii():
        raise InvalidToken
    return str(token)


def requires_token(scope: Scope) -> Callable[[View], View]:
    """Let a view run for a live session, or a personal token with ``scope``; the Actor is first."""

    def decorator(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            actor = _admitted(_of_any_token)
            if scope not in actor.scopes:
                raise InsufficientScope(scope)
            return view(actor, *args, **kwargs)

        taken = (SCHEMES["access"], replace(PERSONAL, scope=scope.value))
        return promise(guarded, *REFUSALS, InsufficientScope, tokens=taken)

    return decorator


def requires_session(
    *, fresh: bool = False, types: tuple[TokenType, ...] = ("access",)
) -> Callable[[View], View]:
    """Let a view run only for a live session; it gets the Actor first.

    With ``fresh``, the password must have been proved for the very token.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            actor = _admitted(_of_session, *types)
            if fresh and not actor.fresh:
                raise FreshTokenRequired
            return view(actor, *args, **kwargs)

        problems = (*REFUSALS, FreshTokenRequired) if fresh else REFUSALS
        return promise(guarded, *problems, tokens=tuple(SCHEMES[type_] for type_ in types))

    return decorator


def requires_refresh_token(view: View) -> View:
    """Let a view run only with a refresh token; it gets the Claims, and its service judges them."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return view(_claims(bearer_token(), "refresh"), *args, **kwargs)

    return promise(guarded, *REFUSALS, tokens=(SCHEMES["refresh"],))


def _admitted(authenticate: Callable[..., Actor], *types: TokenType) -> Actor:
    """Return whom the request acts for, and count it: for nobody where that is not proved."""
    try:
        actor = authenticate(*types)
    except Problem:
        limits.count_caller(None)
        raise
    origin().user_id = actor.id
    limits.count_caller(actor.id)
    return actor


def _of_any_token() -> Actor:
    token = bearer_token()
    if token.startswith(personal_tokens.PREFIX):
        return personal_tokens.authenticate(token)
    return services.authenticate(_claims(token, "access"))


def _of_session(*types: TokenType) -> Actor:
    return services.authenticate(_claims(bearer_token(), *types))


def _claims(token: str, *types: TokenType) -> Claims:
    if token.startswith(personal_tokens.PREFIX):
        raise WrongTokenType
    claims = tokens.read(token)
    if claims.type not in types:
        raise WrongTokenType
    return claims
