"""Single-use tokens that are sent by email: they prove access to the mailbox.

A token is reserved in the transaction of the service that needs it and generated when its email is
sent. Until then it can be revoked, and its text is only in the email.
"""

import secrets
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import contains_eager

from app import clock
from app.auth.models import EmailToken, EmailTokenPurpose, User, identity_key
from app.auth.passwords import hash_token
from app.db.engine import for_update
from app.db.transactions import delete_expired
from app.errors import ValidationFailed
from app.extensions import db

LIFETIME: Mapping[str, timedelta] = {
    EmailTokenPurpose.reset_password: timedelta(hours=1),
    EmailTokenPurpose.verify_email: timedelta(hours=24),
    EmailTokenPurpose.change_email: timedelta(hours=24),
}
# How long expired tokens are kept: their email may not have been sent yet.
RETENTION = timedelta(days=1)


def reserve(user: User, purpose: EmailTokenPurpose, email: str) -> int:
    """Reserve a token in place of older ones, and return its id; the caller has locked the user."""
    now = clock.now()
    is_older = (EmailToken.user_id == user.id, EmailToken.purpose == purpose)
    db.session.execute(delete(EmailToken).where(*is_older))
    email_token = EmailToken(
        user_id=user.id,
        purpose=purpose,
        email=email,
        token_hash=secrets.token_bytes(32),  # matches no token yet
        created_at=now,
        expires_at=now + LIFETIME[purpose],
    )
    db.session.add(email_token)
    db.session.flush()
    return email_token.id


def generate(token_id: int) -> tuple[str, EmailToken] | None:
    """Generate a reserved token, whose lifetime begins now, and return its text, stored as a hash.

    Return None if it was revoked.
    """
    statement = (
        select(EmailToken)
        .join(EmailToken.user)
        .options(contains_eager(EmailToken.user))
        .where(EmailToken.id == token_id, User.disabled_at.is_(None))
    )
    email_token = db.session.scalar(for_update(statement, of=EmailToken))
    if email_token is None:
        return None
    token = secrets.token_urlsafe(32)
    email_token.token_hash = hash_token(token)
    email_token.expires_at = clock.now() + LIFETIME[email_token.purpose]
    return token, email_token


def redeem(token: str, *purposes: EmailTokenPurpose) -> tuple[User, EmailToken]:
    """Use a token for one of ``purposes``, and return its user, locked; the caller commits.

    Raises ValidationFailed, with the same detail for every reason: unknown, used, expired, of a
    disabled user, or for an address that is no longer the user's.
    """
    is_valid = (EmailToken.token_hash == hash_token(token), EmailToken.expires_at > clock.now())
    has_purpose = EmailToken.purpose.in_(purposes)
    email_token = db.session.scalar(select(EmailToken).where(*is_valid, has_purpose))
    if email_token is None:
        raise _invalid_token()
    # Users are locked before their tokens, everywhere.
    statement = for_update(select(User).where(User.id == email_token.user_id))
    user = db.session.scalar(statement.execution_options(populate_existing=True))
    deleted_id = db.session.scalar(delete(EmailToken).where(*is_valid).returning(EmailToken.id))
    if user is None or user.disabled or deleted_id is None:
        raise _invalid_token()
    is_of_user = identity_key(email_token.email) == user.email_key
    if email_token.purpose != EmailTokenPurpose.change_email and not is_of_user:
        raise _invalid_token()
    return user, email_token


def get_pending_change(user: User) -> int | None:
    """Return the id of the token that confirms a new address, or None."""
    return db.session.scalar(
        select(EmailToken.id).where(
            EmailToken.user_id == user.id,
            EmailToken.purpose == EmailTokenPurpose.change_email,
            EmailToken.expires_at > clock.now(),
        )
    )


def revoke(user: User) -> None:
    """Delete the tokens that give access to a user; the caller has locked the user."""
    gives_access = EmailToken.purpose != EmailTokenPurpose.verify_email
    db.session.execute(delete(EmailToken).where(EmailToken.user_id == user.id, gives_access))


def purge() -> int:
    """Delete the tokens that expired long ago, and return their number."""
    return delete_expired(EmailToken.expires_at, clock.now() - RETENTION)


def _invalid_token() -> ValidationFailed:
    detail = "The token is invalid, has expired or was used; request a new one."
    return ValidationFailed([{"pointer": "/token", "detail": detail}])
