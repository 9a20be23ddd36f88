"""Password reset and email verification by tokens that are sent by email."""

from sqlalchemy import select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import email_tokens, emails
from app.auth.emails import SecurityNotice
from app.auth.models import Actor, EmailTokenPurpose, User, identity_key
from app.auth.services.account import flush_or_conflict, get_account
from app.auth.services.credentials import replace_password
from app.db.engine import for_update
from app.db.transactions import commit
from app.extensions import db, limiter
from app.mail.sender import can_send
from app.outbox.queue import enqueue, handler
from app.rate_limiter import RateLimit


def request_reset(*, email: str) -> None:
    """Send a token to ``email`` if it is the address of a user.

    That is looked up in the background, so that the response does not reveal it.
    """
    limiter.count_attempt(RateLimit.recovery_account, "reset", identity_key(email))
    if can_send():
        enqueue("forgotten_password", email=email)
    commit()


@handler("forgotten_password")
def _send_reset_token(email: str) -> None:
    statement = for_update(
        select(User).where(User.email_key == identity_key(email), User.disabled_at.is_(None))
    )
    user = db.session.scalar(statement.execution_options(populate_existing=True))
    if user is None:
        return
    emails.mail_token(user, EmailTokenPurpose.reset_password, user.email)
    audit.record(Event.password_reset_requested, user_id=user.id, actor_id=None)


def reset_password(*, token: str, new_password: str) -> None:
    """Set a new password by an email token, and end all sessions.

    Raises ValidationFailed for an invalid token, or for a weak password, which does not use up the
    token.
    """
    user, _ = email_tokens.redeem(token, EmailTokenPurpose.reset_password)
    replace_password(user, new_password, actor_id=user.id)
    _mark_verified(user)
    commit()


def verify_email(*, token: str) -> None:
    """Verify an address by an email token; a requested new address replaces the old one.

    Raises ValidationFailed for an invalid token, Conflict if the new address is taken.
    """
    purposes = (EmailTokenPurpose.verify_email, EmailTokenPurpose.change_email)
    user, email_token = email_tokens.redeem(token, *purposes)
    if email_token.purpose == EmailTokenPurpose.change_email:
        emails.send_notice(user, SecurityNotice.email_changed)
        user.email = email_token.email
        user.email_verified = True
        user.updated_at = clock.now()
        flush_or_conflict()
        email_tokens.revoke(user)
        audit.record_own(Event.email_changed, user.id)
    else:
        _mark_verified(user)
    commit()


def resend_verification(actor: Actor) -> None:
    """Send the tokens again that verify the actor's address and a requested new one."""
    limiter.count_attempt(RateLimit.recovery_account, "resend", actor.id)
    user = get_account(actor, lock=True)
    pending_id = email_tokens.get_pending_change(user)
    if pending_id is not None:
        emails.mail_reserved_token(pending_id)
    if not user.email_verified:
        emails.mail_token(user, EmailTokenPurpose.verify_email, user.email)
    commit()


def _mark_verified(user: User) -> None:
    if not user.email_verified:
        user.email_verified = True
        user.updated_at = clock.now()
        audit.record_own(Event.email_verified, user.id)
