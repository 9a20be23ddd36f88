"""Time-based one-time passwords (RFC 6238) with encrypted secrets, and recovery codes."""

import base64
import re
import secrets
import textwrap

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from pyotp import TOTP, OTPVerificationError

from app import clock
from app.auth.passwords import hash_token

# Codes of one time step before and after are valid too: clocks differ, and typing takes time.
VALID_WINDOW = 1
RECOVERY_CODES = 10
# Enough random bits to need no slow hash (OWASP ASVS 5.0, 6.5.2).
RECOVERY_CODE_BYTES = 15


def provisioning_uri(secret: str, username: str) -> str:
    """Return the URI that authenticator apps read as a QR code."""
    issuer = current_app.config["API_TITLE"]
    return TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def encrypt_secret(secret: str, user_id: int) -> bytes:
    """Encrypt a secret with a key of the user's own."""
    return _cipher(user_id).encrypt(secret.encode())


def is_totp(code: str) -> bool:
    """Return whether a normalized code has the form of a one-time password."""
    return re.fullmatch(r"[0-9]{6}", code) is not None


def find_time_step(code: str, encrypted_secret: bytes, user_id: int) -> int | None:
    """Return the current time step whose one-time password is ``code``, or None.

    A secret that can't be decrypted, because SECRET_KEY has changed, matches no code.
    """
    if not is_totp(code):
        return None
    try:
        secret = _cipher(user_id).decrypt(encrypted_secret).decode()
        step: int = TOTP(secret).verify_and_get_timecode(
            code, for_time=clock.now(), valid_window=VALID_WINDOW
        )
    except (InvalidToken, OTPVerificationError):
        return None
    return step


def create_recovery_codes() -> list[str]:
    """Return random recovery codes, in groups that are easy to type."""
    keys = (secrets.token_bytes(RECOVERY_CODE_BYTES) for _ in range(RECOVERY_CODES))
    texts = (base64.b32encode(key).decode().lower() for key in keys)
    return ["-".join(textwrap.wrap(text, 4)) for text in texts]


def hash_recovery_code(code: str) -> bytes:
    """Return the hash under which a recovery code is stored."""
    return hash_token(normalize(code))


def normalize(code: str) -> str:
    """Return a code without spaces and hyphens, in lower case."""
    return re.sub(r"[\s-]", "", code).lower()


def _cipher(user_id: int) -> Fernet:
    """Return the cipher of a user: a secret that is copied to another user's row is useless."""
    info = f"second factor of account {user_id}".encode()
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info)
    derived = key.derive(current_app.config["SECRET_KEY"].encode())
    return Fernet(base64.urlsafe_b64encode(derived))
