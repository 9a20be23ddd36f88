"""Tokens: Flask-JWT-Extended makes and verifies them; their claims are checked here (RFC 8725)."""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from flask import Flask, current_app
from flask_jwt_extended import create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import ExpiredSignatureError, PyJWTError, decode_complete

from app.database import BIGGEST_ID
from app.errors import InvalidToken, TokenExpired
from app.extensions import jwt
from app.http.context import itself

LONGEST = 4096
REMEMBERED = 4096
WHOLE = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
CLAIMS = {"exp", "nbf", "iat", "jti", "sub", "sid", "iss", "aud", "type", "fresh"}
TokenType = Literal["access", "refresh"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    type: TokenType
    user_id: int
    session_id: str
    token_id: str
    fresh: bool
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Pair:
    """An access token, and where one is due, the refresh token that follows it."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None
    refresh_expires_in: int | None = None
    token_type: str = "Bearer"  # noqa: S105  # the scheme's name, not a secret


def session_lifetime() -> timedelta:
    """How long after its login a session ends, refreshed or not."""
    lifetime: timedelta = current_app.config["SESSION_LIFETIME"]
    return lifetime


def idle_lifetime() -> timedelta:
    """How long after its last refresh a session ends."""
    lifetime: timedelta = current_app.config["JWT_REFRESH_TOKEN_EXPIRES"]
    return lifetime


def issue_access(user_id: int, session_id: str, *, fresh: bool) -> Pair:
    """Make an access token."""
    token = create_access_token(str(user_id), fresh=fresh, additional_claims={"sid": session_id})
    lifetime: timedelta = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    return Pair(token, int(lifetime.total_seconds()))


def issue_pair(
    user_id: int, session_id: str, refresh_id: str, *, fresh: bool, until: datetime, now: datetime
) -> Pair:
    """Make an access token and a refresh token; the latter never outlives ``until``."""
    lifetime = min(idle_lifetime(), until - now)
    refresh = create_refresh_token(
        str(user_id),
        expires_delta=lifetime,
        additional_claims={"sid": session_id, "jti": refresh_id},
    )
    access = issue_access(user_id, session_id, fresh=fresh)
    return Pair(access.access_token, access.expires_in, refresh, int(lifetime.total_seconds()))


def read(token: str) -> Claims:
    """Verify a token. Raises InvalidToken or TokenExpired."""
    if len(token) > LONGEST:
        raise InvalidToken
    claims: Claims = itself(current_app).extensions["verified_tokens"](token)
    if claims.expires_at <= time.time():
        raise TokenExpired
    return claims


def _verify(token: str) -> Claims:
    if not WHOLE.fullmatch(token):
        raise InvalidToken
    try:
        decode_token(token)
        # As it was said: what is missing was filled in above.
        said = decode_complete(token, options={"verify_signature": False})
        if not said["header"].keys() <= {"alg", "kid", "typ"}:
            raise InvalidToken
        return _claims(said["payload"])
    except ExpiredSignatureError:
        raise TokenExpired from None
    # A header or payload of strange JSON fails in the parser, before PyJWT can name it.
    except (PyJWTError, JWTExtendedException, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken from None


def _claims(said: Mapping[str, Any]) -> Claims:
    """Check that every claim is there and of its type. Raises InvalidToken."""
    if not said.keys() >= CLAIMS:
        raise InvalidToken
    subject, session_id, token_id = said["sub"], said["sid"], said["jti"]
    if not re.fullmatch(r"[1-9][0-9]{0,18}", subject) or int(subject) > BIGGEST_ID:
        raise InvalidToken
    if not re.fullmatch(r"[0-9a-f]{32}", session_id) or not isinstance(token_id, str):
        raise InvalidToken
    if said["type"] not in ("access", "refresh") or not isinstance(said["fresh"], bool):
        raise InvalidToken
    return Claims(
        type=said["type"],
        user_id=int(subject),
        session_id=session_id,
        token_id=token_id,
        fresh=said["fresh"],
        issued_at=int(said["iat"]),
        expires_at=int(said["exp"]),
    )


def key_id(secret: str) -> str:
    """Return the name of a signing secret, which tells nothing of it."""
    return hashlib.sha256(b"key id:" + secret.encode()).hexdigest()[:16]


def _secrets() -> list[str]:
    """The secrets that verify; the first of them signs."""
    return list(current_app.config["JWT_SECRET_KEYS"])


@jwt.encode_key_loader
def _signing_key(_identity: Any) -> str:
    return _secrets()[0]


@jwt.additional_headers_loader
def _headers(_identity: Any) -> dict[str, str]:
    return {"kid": key_id(_secrets()[0])}


@jwt.decode_key_loader
def _verifying_key(headers: Mapping[str, Any], _claims: Mapping[str, Any]) -> str:
    keys = {key_id(secret): secret for secret in _secrets()}
    named = headers.get("kid", key_id(_secrets()[0]))
    if not isinstance(named, str) or named not in keys:
        raise InvalidToken
    return keys[named]


def init_app(app: Flask) -> None:
    """Remember verified tokens by their text: the signature of each is checked once a process."""
    app.extensions["verified_tokens"] = lru_cache(maxsize=REMEMBERED)(_verify)
