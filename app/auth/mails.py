"""The mails of accounts: asked for in the transaction of a service, sent after its commit."""

from enum import StrEnum

from flask import current_app

from app.auth import mailed_tokens
from app.auth.models import MailPurpose, User
from app.mail import letters
from app.mail.letters import can_send
from app.outbox.work import enqueue, extend, job
from app.transactions import commit

# Where a token goes: the page of the front end that takes it, and the call that it makes.
TAKEN_BY = {
    MailPurpose.reset_password: ("reset-password", "password/reset"),
    MailPurpose.verify_email: ("verify-email", "email/verify"),
    MailPurpose.change_email: ("verify-email", "email/verify"),
}


class Notice(StrEnum):
    """What an owner is told of, and can't be answered: its value names the template."""

    email_change_requested = "email_change_requested"
    email_changed = "email_changed"
    password_changed = "password_changed"  # noqa: S105  # a notice, not a secret
    password_reset = "password_reset"  # noqa: S105


def mail_token(user: User, purpose: MailPurpose, email: str) -> None:
    """Mail ``user``, whose row the caller has locked or just made, a token to ``email``."""
    if can_send():
        mail_again(mailed_tokens.prepare(user, purpose, email))


def mail_again(token_id: int) -> None:
    """Mail a token that was prepared, written anew."""
    enqueue("mailed_token", token_id=token_id)


def tell(user: User, notice: Notice) -> None:
    """Tell the owner of an account, at its address as it is now, what was done to it."""
    if can_send():
        enqueue("notice", notice=notice, email=user.email, username=user.username)


@job("mailed_token")
def _send_token(token_id: int) -> None:
    # Who lost the item meanwhile writes no token over the one that was sent in its place.
    extend()
    issued = mailed_tokens.issue(token_id)
    # A token that arrives is good already, and nothing is locked while it is sent.
    commit()
    if issued is None:
        return
    page, call = TAKEN_BY[issued.purpose]
    app_url, api_url = current_app.config["APP_URL"], current_app.config["PUBLIC_URL"]
    hours = mailed_tokens.LIFETIME[issued.purpose].total_seconds() / 3600
    letters.send(
        issued.purpose,
        issued.email,
        username=issued.username,
        token=issued.token,
        link=f"{app_url}/{page}?token={issued.token}" if app_url else None,
        call=f"{api_url}/api/v1/auth/{call}",
        lifetime="an hour" if hours == 1 else f"{hours:.0f} hours",
    )


@job("notice")
def _send_notice(notice: str, email: str, username: str) -> None:
    letters.send(notice, email, username=username)
