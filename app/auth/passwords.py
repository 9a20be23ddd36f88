"""Passwords: which are accepted, and how they are kept (NIST SP 800-63B, OWASP ASVS 5.0 V6)."""

import unicodedata
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from app.floor import floor

LEAST, MOST = 8, 128

# OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane.
hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def normalise(password: str) -> str:
    """Return the form of a password that is measured and hashed, however it was typed."""
    return unicodedata.normalize("NFKC", password)


def weakness(password: str, *own: str) -> str | None:
    """Tell why a normalised password can't be chosen, or None; ``own`` are its user's own words."""
    if len(password) < LEAST:
        return f"Shorter than {LEAST} characters."
    if len(password) > MOST:
        return f"Longer than {MOST} characters."
    folded = password.casefold()
    if folded in {word.casefold() for word in own}:
        return "Must not be your own name or address."
    if folded in _common():
        return "Among the most common passwords."
    return None


@cache
def _common() -> frozenset[str]:
    """The passwords of eight characters and more that are guessed first, case folded."""
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text().splitlines())


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a normalised password, with its parameters and salt."""
    with floor.left():
        return hasher.hash(password)


@cache
def _nobodys_hash() -> str:
    return hash_password("no account has this password")


def verify(password: str, password_hash: str | None) -> bool:
    """Tell whether a normalised password is the hashed one; without a hash, as slowly no."""
    kept = password_hash or _nobodys_hash()
    try:
        with floor.left():
            return hasher.verify(kept, password) and bool(password_hash)
    except VerificationError:
        return False


def outdated(password_hash: str) -> bool:
    """Tell whether a hash was made with other parameters than today's."""
    return hasher.check_needs_rehash(password_hash)
