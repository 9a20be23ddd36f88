"""Password rules, and hashing of passwords and tokens (NIST SP 800-63B, OWASP ASVS 5.0 V6)."""

import hashlib
import os
import unicodedata
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from app.errors import ValidationFailed

MIN_LENGTH = 8
MAX_LENGTH = 128

# OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane.
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Each hash takes 19 MiB and a processor: more at once take memory and are not faster.
_hashing = BoundedSemaphore(os.cpu_count() or 1)


def normalize(password: str) -> str:
    """Return the Unicode form (NFKC) in which a password is measured and hashed."""
    return unicodedata.normalize("NFKC", password)


def find_weakness(password: str, *personal: str) -> str | None:
    """Return why a password is rejected, or None.

    ``personal`` are the user's name and address, which must not be the password.
    """
    password = normalize(password)
    if len(password) < MIN_LENGTH:
        return f"Shorter than {MIN_LENGTH} characters."
    if len(password) > MAX_LENGTH:
        return f"Longer than {MAX_LENGTH} characters."
    folded = password.casefold()
    if folded in {text.casefold() for text in personal}:
        return "Must not be your own name or address."
    if folded in _common_passwords():
        return "Among the most common passwords."
    return None


@cache
def _common_passwords() -> frozenset[str]:
    """Return the most common passwords of at least 8 characters, case folded."""
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text().splitlines())


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password."""
    with _hashing:
        return hasher.hash(normalize(password))


def hash_new_password(password: str, *personal: str, pointer: str = "/new_password") -> str:
    """Return the hash of a new password. Raises ValidationFailed if it is weak."""
    if weakness := find_weakness(password, *personal):
        raise ValidationFailed([{"pointer": pointer, "detail": weakness}])
    return hash_password(password)


@cache
def _dummy_hash() -> str:
    return hash_password("no user has this password")


def verify(password: str, password_hash: str | None) -> bool:
    """Return whether a password matches a hash; without a hash False, after the same time."""
    known = password_hash or _dummy_hash()
    try:
        with _hashing:
            return hasher.verify(known, normalize(password)) and bool(password_hash)
    except VerificationError:
        return False


def needs_rehash(password_hash: str) -> bool:
    """Return whether a hash was made with other parameters than the current ones."""
    return hasher.check_needs_rehash(password_hash)


def hash_token(token: str) -> bytes:
    """Return the hash of a random token, which needs no slow one (OWASP ASVS 5.0, 6.5.2)."""
    return hashlib.sha256(token.encode()).digest()
