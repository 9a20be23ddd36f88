"""Codes: the secrets that time makes them of (RFC 6238), sealed at rest, and recovery codes."""

import base64
import hashlib
import re
import secrets
import textwrap

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from pyotp import TOTP, OTPVerificationError, random_base32

from app import clock

# Codes of the step before and of the step after are good too: clocks differ, and typing takes time.
WINDOW = 1
TIMED = re.compile(r"[0-9]{6}")
RECOVERY_CODES = 10
# 120 bits: what is too random to be found by trying needs no slow hash (OWASP ASVS 5.0, 6.5.2).
RECOVERY_BYTES = 15


def new_secret() -> str:
    """Make the secret that an authenticator and the server share, in base32."""
    return random_base32()


def uri(secret: str, username: str) -> str:
    """Return what an authenticator scans."""
    issuer = current_app.config["API_TITLE"]
    return TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def seal(secret: str, user_id: int) -> bytes:
    """Encrypt a secret, for the account that it belongs to and no other."""
    return _cipher(user_id).encrypt(secret.encode())


def is_timed(code: str) -> bool:
    """Tell whether a normalised code has the form of those that time makes."""
    return TIMED.fullmatch(code) is not None


def step_of(code: str, sealed: bytes, user_id: int) -> int | None:
    """Return the time step that a normalised code belongs to, or None where it is not near now.

    A secret that does not open, since SECRET_KEY is another one now, has no codes.
    """
    if not is_timed(code):
        return None
    try:
        secret = _cipher(user_id).decrypt(sealed).decode()
        step: int = TOTP(secret).verify_and_get_timecode(
            code, for_time=clock.now(), valid_window=WINDOW
        )
    except (InvalidToken, OTPVerificationError):
        return None
    return step


def new_recovery_codes() -> list[str]:
    """Make codes that each stand in for a timed one, once, in groups that are easily typed."""
    return ["-".join(textwrap.wrap(_random_text(), 4)) for _ in range(RECOVERY_CODES)]


def hash_recovery_code(code: str) -> bytes:
    """Return what is kept of a recovery code."""
    return hashlib.sha256(normalise(code).encode()).digest()


def normalise(code: str) -> str:
    """Return a code as it is compared, however it was typed."""
    return re.sub(r"[\s-]", "", code).lower()


def _random_text() -> str:
    return base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()


def _cipher(user_id: int) -> Fernet:
    """The cipher of one account's secret: what is moved to another's row does not open."""
    purpose = f"second factor of account {user_id}".encode()
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose)
    derived = key.derive(current_app.config["SECRET_KEY"].encode())
    return Fernet(base64.urlsafe_b64encode(derived))
