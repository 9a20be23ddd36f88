"""JSON Web Tokens of sessions, by Flask-JWT-Extended (RFC 7519, RFC 8725)."""

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
from jwt import ExpiredSignatureError, PyJWTError

from app.auth.models import Session
from app.db.types import MAX_ID
from app.errors import InvalidToken, TokenExpired
from app.extensions import jwt

MAX_LENGTH = 4096
CACHE_SIZE = 4096
JWT_RE = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
HEADERS = {"alg", "kid", "typ"}
CLAIMS = {"exp", "nbf", "iat", "jti", "sub", "sid", "iss", "aud", "type", "fresh"}


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token."""

    type: Literal["access", "refresh"]
    user_id: int
    session_id: str
    token_id: str
    fresh: bool
    issued_at: int
    expires_at: int


def session_lifetime() -> timedelta:
    """Return how long after the login a session ends."""
    lifetime: timedelta = current_app.config["SESSION_LIFETIME"]
    return lifetime


def idle_lifetime() -> timedelta:
    """Return how long after the last refresh a session ends."""
    lifetime: timedelta = current_app.config["JWT_REFRESH_TOKEN_EXPIRES"]
    return lifetime


def create_session_access_token(user_id: int, session_id: str, *, fresh: bool) -> dict[str, Any]:
    """Return the response with a new access token of a session (RFC 6749, 5.1)."""
    lifetime: timedelta = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    token = create_access_token(str(user_id), fresh=fresh, additional_claims={"sid": session_id})
    expires_in = int(lifetime.total_seconds())
    return {"access_token": token, "token_type": "Bearer", "expires_in": expires_in}


def create_token_pair(session: Session, *, fresh: bool, now: datetime) -> dict[str, Any]:
    """Return the response with an access token and a refresh token.

    The refresh token expires no later than the session.
    """
    lifetime = min(idle_lifetime(), session.expires_at - now)
    user_id, claims = str(session.user_id), {"sid": session.id, "jti": session.refresh_id}
    token = create_refresh_token(user_id, expires_delta=lifetime, additional_claims=claims)
    return {
        **create_session_access_token(session.user_id, session.id, fresh=fresh),
        "refresh_token": token,
        "refresh_expires_in": int(lifetime.total_seconds()),
    }


def decode(token: str) -> Claims:
    """Verify a token. Raises InvalidToken or TokenExpired."""
    if len(token) > MAX_LENGTH:
        raise InvalidToken
    claims: Claims = current_app.extensions["decoded_tokens"](token)
    # The result may come from the cache.
    if claims.expires_at + current_app.config["JWT_DECODE_LEEWAY"] <= time.time():
        raise TokenExpired
    return claims


def _decode(token: str) -> Claims:
    if not JWT_RE.fullmatch(token):
        raise InvalidToken
    try:
        return _read_claims(decode_token(token))
    except ExpiredSignatureError:
        raise TokenExpired from None
    # PyJWT lets some errors of the JSON parser through.
    except (PyJWTError, JWTExtendedException, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken from None


def _read_claims(payload: Mapping[str, Any]) -> Claims:
    """Check the types of the claims. Raises InvalidToken."""
    subject, session_id, token_id = payload["sub"], payload["sid"], payload["jti"]
    if not re.fullmatch(r"[1-9][0-9]{0,18}", subject) or int(subject) > MAX_ID:
        raise InvalidToken
    if not re.fullmatch(r"[0-9a-f]{32}", session_id) or not isinstance(token_id, str):
        raise InvalidToken
    if payload["type"] not in ("access", "refresh") or not isinstance(payload["fresh"], bool):
        raise InvalidToken
    return Claims(
        type=payload["type"],
        user_id=int(subject),
        session_id=session_id,
        token_id=token_id,
        fresh=payload["fresh"],
        issued_at=int(payload["iat"]),
        expires_at=int(payload["exp"]),
    )


def key_id(secret: str) -> str:
    """Return the ``kid`` of a signing secret: a hash, which does not reveal the secret."""
    return hashlib.sha256(b"key id:" + secret.encode()).hexdigest()[:16]


@jwt.encode_key_loader
def _signing_key(_identity: Any) -> str:
    secret: str = current_app.config["JWT_SECRET_KEYS"][0]
    return secret


@jwt.additional_headers_loader
def _additional_headers(identity: Any) -> dict[str, str]:
    return {"kid": key_id(_signing_key(identity))}


@jwt.decode_key_loader
def _verification_key(headers: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    # Checked here, because decode_token() ignores unknown headers and fills in missing claims.
    if not headers.keys() <= HEADERS or not claims.keys() >= CLAIMS:
        raise InvalidToken
    secrets: list[str] = current_app.config["JWT_SECRET_KEYS"]
    keys = {key_id(secret): secret for secret in secrets}
    kid = headers.get("kid", next(iter(keys)))
    if not isinstance(kid, str) or kid not in keys:
        raise InvalidToken
    return keys[kid]


def init_app(app: Flask) -> None:
    """Cache decoded tokens, so that each signature is verified once per process."""
    app.extensions["decoded_tokens"] = lru_cache(maxsize=CACHE_SIZE)(_decode)
