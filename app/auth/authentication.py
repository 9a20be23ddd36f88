"""Authentication of the current request by its bearer token (RFC 6750)."""

from flask import request

from app.auth import jwt
from app.auth.models import Actor
from app.auth.services import personal_tokens, sessions
from app.errors import AuthenticationRequired, InvalidToken, Problem
from app.request_context import request_context

RESULT = "task_api.authentication"


def authenticate_request() -> Actor:
    """Return the actor of the current request; the result, error or not, is computed once.

    Raises AuthenticationRequired, InvalidToken, TokenExpired, TokenRevoked or AccountDisabled.
    """
    # Not in ``g``: several requests may share one application context.
    environ = request.environ
    if RESULT not in environ:
        try:
            environ[RESULT] = _authenticate(bearer_token())
            request_context().user_id = environ[RESULT].id
        except Problem as problem:
            environ[RESULT] = problem
    if isinstance(environ[RESULT], Problem):
        raise environ[RESULT]
    actor: Actor = environ[RESULT]
    return actor


def bearer_token() -> str:
    """Return the bearer token of the current request.

    Raises AuthenticationRequired if there is none, InvalidToken if it is malformed.
    """
    header = request.environ.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise AuthenticationRequired
    # A server joins two Authorization headers with a comma.
    if not token or " " in token or "," in token or not token.isascii():
        raise InvalidToken
    return str(token)


def _authenticate(token: str) -> Actor:
    if token.startswith(personal_tokens.PREFIX):
        return personal_tokens.authenticate(token)
    return sessions.authenticate(jwt.decode(token))
