"""Challenges of logins that require a second factor."""

import hashlib
from datetime import timedelta
from typing import NamedTuple

from flask import current_app
from itsdangerous import BadData, URLSafeTimedSerializer

from app.auth.models import User
from app.errors import InvalidCredentials

CHALLENGE_LIFETIME = timedelta(minutes=5)
INVALID_CHALLENGE = "The challenge is invalid or has expired; log in again."


class Challenge(NamedTuple):
    """Proof that the password of a user was verified; void once the password changes."""

    user_id: int
    password_digest: str

    def is_valid_for(self, user: User) -> bool:
        """Return whether the user still has the password that was verified."""
        return self == _challenge(user)


def create_challenge(user: User) -> str:
    """Return a signed challenge for a user whose password was verified."""
    return str(_serializer().dumps(_challenge(user)))


def read_challenge(text: str) -> Challenge:
    """Verify a challenge. Raises InvalidCredentials if it has expired or is not signed by us."""
    try:
        payload = _serializer().loads(text, max_age=int(CHALLENGE_LIFETIME.total_seconds()))
    except BadData:
        raise InvalidCredentials(INVALID_CHALLENGE) from None
    return Challenge(*payload)


def _challenge(user: User) -> Challenge:
    # The hash is salted, so its digest reveals nothing about the password.
    digest = hashlib.sha256(user.password_hash.encode()).hexdigest()[:32]
    return Challenge(user.id, digest)


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        current_app.config["SECRET_KEY"],
        salt="challenge",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
