"""Tokens that are mailed: each proves once, for a while, that whoever sends it reads the mail.

A token is prepared in the transaction that wants it and written when it is mailed, so that what it
would do can be called off meanwhile, and its text is nowhere but in the mail.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, select, update

from app import clock
from app.auth.models import MailedToken, MailPurpose, User, identity_key
from app.errors import ValidationFailed
from app.extensions import db
from app.transactions import delete_older

LIFETIME = {
    MailPurpose.reset_password: timedelta(hours=1),
    MailPurpose.verify_email: timedelta(hours=24),
    MailPurpose.change_email: timedelta(hours=24),
}
# How long an expired token stays: it may be one that still waits to be mailed.
KEPT = timedelta(days=1)


class Issued(NamedTuple):
    """The text of a token, and who is to get it."""

    token: str
    purpose: MailPurpose
    email: str
    username: str


class Spent(NamedTuple):
    """What a token proved: that ``user``, now locked, reads the mail of ``email``."""

    user: User
    purpose: MailPurpose
    email: str


def prepare(user: User, purpose: MailPurpose, email: str) -> int:
    """Note that a token is to be mailed, in place of older ones, and return its number.

    Whoever calls holds a lock on the account.
    """
    now = clock.now()
    _delete(MailedToken.user_id == user.id, MailedToken.purpose == purpose)
    held = MailedToken(
        user_id=user.id,
        purpose=purpose,
        email=email,
        token_hash=secrets.token_bytes(32),  # of no token yet
        created_at=now,
        expires_at=now + LIFETIME[purpose],
    )
    db.session.add(held)
    db.session.flush()
    return held.id


def issue(token_id: int) -> Issued | None:
    """Write the token that was prepared, or None if it was called off; it lives from now on."""
    now = clock.now()
    prepared = db.session.execute(
        select(MailedToken.purpose, MailedToken.email, User.username)
        .join_from(MailedToken, User)
        .where(MailedToken.id == token_id, User.disabled_at.is_(None))
    ).first()
    if prepared is None:
        return None
    token, purpose = secrets.token_urlsafe(32), MailPurpose(prepared.purpose)
    written = db.session.scalar(
        update(MailedToken)
        .where(MailedToken.id == token_id)
        .values(token_hash=_hash(token), expires_at=now + LIFETIME[purpose])
        .returning(MailedToken.id)
        .execution_options(synchronize_session=False)
    )
    return Issued(token, purpose, prepared.email, prepared.username) if written else None


def spend(token: str, *purposes: MailPurpose) -> Spent:
    """Use a token for one of ``purposes``; it is gone with the caller's commit.

    Raises ValidationFailed, in the same words for one that never was, was used, has expired, is of
    an account that is disabled or of an address that is not the account's any more.
    """
    good = (MailedToken.token_hash == _hash(token), MailedToken.expires_at > clock.now())
    held = db.session.execute(
        select(MailedToken.id, MailedToken.user_id, MailedToken.purpose, MailedToken.email).where(
            *good, MailedToken.purpose.in_(purposes)
        )
    ).first()
    # Accounts are locked before their tokens, here as everywhere.
    user = lock(held.user_id) if held else None
    spent = _delete(*good) if user else []
    if held is None or user is None or user.disabled or not spent:
        raise _refused()
    purpose = MailPurpose(held.purpose)
    if purpose != MailPurpose.change_email and identity_key(held.email) != user.email_key:
        raise _refused()
    return Spent(user, purpose, held.email)


def pending_change(user: User) -> int | None:
    """Return the number of the token that waits for a new address to be confirmed, or None."""
    return db.session.scalar(
        select(MailedToken.id).where(
            MailedToken.user_id == user.id,
            MailedToken.purpose == MailPurpose.change_email,
            MailedToken.expires_at > clock.now(),
        )
    )


def call_off(user: User) -> None:
    """Delete the tokens that could take an account over; whoever calls holds a lock on it."""
    _delete(MailedToken.user_id == user.id, MailedToken.purpose != MailPurpose.verify_email)


def lock(user_id: int) -> User | None:
    """Return an account as it is now, and hold it until the commit."""
    return db.session.scalar(
        select(User)
        .where(User.id == user_id)
        .with_for_update()
        .execution_options(locks_rows=True, populate_existing=True)
    )


def purge() -> int:
    """Delete the tokens that expired long enough ago, and return how many they were."""
    return delete_older(MailedToken.expires_at, clock.now() - KEPT)


def _delete(*match: ColumnElement[bool]) -> Sequence[int]:
    return db.session.scalars(
        delete(MailedToken)
        .where(*match)
        .returning(MailedToken.id)
        .execution_options(synchronize_session=False)
    ).all()


def _refused() -> ValidationFailed:
    detail = "Was used, has expired, or never was a token; ask for a new one."
    return ValidationFailed([{"pointer": "/token", "detail": detail}])


def _hash(token: str) -> bytes:
    """What is kept of a token, which is too random to be found by trying."""
    return hashlib.sha256(token.encode()).digest()
