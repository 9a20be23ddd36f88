"""What a login has to know of second factors: its challenge, and who must have one."""

import hashlib
from datetime import timedelta
from typing import NamedTuple

from flask import current_app
from itsdangerous import BadData, URLSafeTimedSerializer

from app.auth.models import User
from app.errors import InvalidCredentials
from app.http.context import itself

CHALLENGE_LIFETIME = timedelta(minutes=5)
NO_CHALLENGE = "The challenge is over, or not one of ours; log in again."


class Challenge(NamedTuple):
    """What a login gives whoever proved the password, for as long as that is the password."""

    user_id: int
    password_seal: str

    def is_for(self, user: User) -> bool:
        """Tell whether the account still has the password that was proved."""
        return self == _challenge(user.id, user.password_hash)


def issue_challenge(user_id: int, password_hash: str) -> str:
    """Make a signed challenge for whoever has proved the password of an account."""
    return str(_serializer().dumps(_challenge(user_id, password_hash)))


def read_challenge(text: str) -> Challenge:
    """Verify a challenge. Raises InvalidCredentials for one that is too old, or not ours."""
    try:
        said = _serializer().loads(text, max_age=int(CHALLENGE_LIFETIME.total_seconds()))
    except BadData:
        raise InvalidCredentials(NO_CHALLENGE) from None
    return Challenge(*said)


def required_of_admins() -> bool:
    """Tell whether administrators have their rights only with a second factor."""
    return bool(itself(current_app).config["REQUIRE_ADMIN_SECOND_FACTOR"])


def _challenge(user_id: int, password_hash: str) -> Challenge:
    """Seal the password by its hash, which has a salt of its own: the seal tells nothing of it."""
    return Challenge(user_id, hashlib.sha256(password_hash.encode()).hexdigest()[:32])


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        current_app.config["SECRET_KEY"],
        salt="challenge",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
