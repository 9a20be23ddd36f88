"""Rate limits per account, which hold for all addresses together."""

import hashlib

from app.extensions import limiter
from app.rate_limiter import RateLimit


def count_attempt(limit: RateLimit, action: str, account: int | str) -> None:
    """Count an attempt on an account: a user's id, or the name or address of an unknown user.

    Responses do not report what is left: it would reveal which name and address belong together.
    Raises RateLimited.
    """
    limiter.hit(limit, action, _key(account))


def _key(account: int | str) -> str:
    if isinstance(account, int):
        return f"user {account}"
    # Hashed, because the storage must not contain personal data.
    return hashlib.blake2b(account.encode(errors="replace"), digest_size=16).hexdigest()
