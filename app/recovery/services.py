"""The rules of forgotten passwords, and of addresses that are to be proved."""

from sqlalchemy import select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import mailed_tokens, mails
from app.auth import services as accounts
from app.auth.mails import Notice
from app.auth.models import Actor, MailPurpose, User, identity_key
from app.errors import TokenRevoked
from app.extensions import db
from app.http import limits
from app.http.limits import Rule
from app.mail.letters import can_send
from app.outbox.work import enqueue, job
from app.transactions import commit


def ask_for_reset(*, email: str) -> None:
    """Have a token mailed, if the address is an account's.

    Whether it is one is looked up after the answer, so nothing of it shows in that.
    """
    limits.count_account(Rule.recovery_account, "reset", identity_key(email))
    if can_send():
        enqueue("forgotten_password", email=email)
    commit()


@job("forgotten_password")
def _prepare_reset(email: str) -> None:
    user = db.session.scalar(
        select(User)
        .where(User.email_key == identity_key(email), User.disabled_at.is_(None))
        .with_for_update()
        .execution_options(locks_rows=True, populate_existing=True)
    )
    if user is None:
        return
    mails.mail_token(user, MailPurpose.reset_password, user.email)
    audit.record(Event.password_reset_requested, user_id=user.id, actor_id=None)


def reset_password(*, token: str, new_password: str) -> None:
    """Set a new password for whoever was mailed ``token``, and end every session.

    Raises ValidationFailed for a token that is not good, and for a password that is easily guessed,
    which leaves the token as it was.
    """
    user = mailed_tokens.spend(token, MailPurpose.reset_password).user
    accounts.replace_password(user, new_password, actor_id=user.id)
    _note_proof(user)
    commit()


def verify_email(*, token: str) -> None:
    """Note that an address is its account's; one that was asked for becomes it.

    Raises ValidationFailed for a token that is not good, Conflict where the address was taken
    meanwhile.
    """
    spent = mailed_tokens.spend(token, MailPurpose.verify_email, MailPurpose.change_email)
    if spent.purpose == MailPurpose.change_email:
        _change_address(spent.user, spent.email)
    else:
        _note_proof(spent.user)
    commit()


def resend_verification(actor: Actor) -> None:
    """Mail anew what proves the caller's address, or the one that it is to become."""
    limits.count_account(Rule.recovery_account, "resend", actor.id)
    user = mailed_tokens.lock(actor.id)
    if user is None:
        raise TokenRevoked
    pending = mailed_tokens.pending_change(user)
    if pending is not None:
        mails.mail_again(pending)
    if not user.email_verified:
        mails.mail_token(user, MailPurpose.verify_email, user.email)
    commit()


def _note_proof(user: User) -> None:
    if not user.email_verified:
        user.email_verified = True
        user.updated_at = clock.now()
        audit.record(Event.email_verified, user_id=user.id, actor_id=user.id)


def _change_address(user: User, email: str) -> None:
    mails.tell(user, Notice.email_changed)
    user.email = email
    user.email_verified = True
    user.updated_at = clock.now()
    accounts.flush_unique()
    mailed_tokens.call_off(user)
    audit.record(Event.email_changed, user_id=user.id, actor_id=user.id)
