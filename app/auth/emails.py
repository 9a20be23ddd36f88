"""Emails to users: enqueued in the transaction of a service, sent after its commit."""

from collections.abc import Mapping
from enum import StrEnum

from flask import current_app

from app.auth import email_tokens
from app.auth.models import EmailTokenPurpose, User
from app.db.transactions import commit
from app.mail import sender
from app.mail.sender import can_send
from app.outbox.leases import renew_lease
from app.outbox.queue import enqueue, handler

# For each token: the page of the front end that receives it, and the endpoint that it calls.
DESTINATIONS: Mapping[str, tuple[str, str]] = {
    EmailTokenPurpose.reset_password: ("reset-password", "password/reset"),
    EmailTokenPurpose.verify_email: ("verify-email", "email/verify"),
    EmailTokenPurpose.change_email: ("verify-email", "email/verify"),
}


class SecurityNotice(StrEnum):
    """A notice to a user about a change of its account; the value is the template's name."""

    email_change_requested = "email_change_requested"
    email_changed = "email_changed"
    password_changed = "password_changed"  # noqa: S105  # a notice, not a secret
    password_reset = "password_reset"  # noqa: S105


def mail_token(user: User, purpose: EmailTokenPurpose, email: str) -> None:
    """Send a token to ``email``; the caller has locked or just created the user."""
    if can_send():
        mail_reserved_token(email_tokens.reserve(user, purpose, email))


def mail_reserved_token(token_id: int) -> None:
    """Send a reserved token, which is generated again if it was sent before."""
    enqueue("mailed_token", token_id=token_id)


def send_notice(user: User, notice: SecurityNotice) -> None:
    """Send a notice to the current address of a user."""
    if can_send():
        enqueue("notice", notice=notice, email=user.email, username=user.username)


@handler("mailed_token")
def _send_token(token_id: int) -> None:
    # Without the lease, another worker may have sent the token: do not overwrite it.
    renew_lease()
    generated = email_tokens.generate(token_id)
    # Committed before sending: the token works when it arrives, and no lock is held meanwhile.
    commit()
    if generated is None:
        return
    token, email_token = generated
    purpose = email_token.purpose
    page, endpoint = DESTINATIONS[purpose]
    app_url, api_url = current_app.config["APP_URL"], current_app.config["PUBLIC_URL"]
    hours = email_tokens.LIFETIME[purpose].total_seconds() / 3600
    sender.send(
        purpose,
        email_token.email,
        username=email_token.user.username,
        token=token,
        link=f"{app_url}/{page}?token={token}" if app_url else None,
        call=f"{api_url}/api/v1/auth/{endpoint}",
        lifetime="an hour" if hours == 1 else f"{hours:.0f} hours",
    )


@handler("notice")
def _send_notice(notice: str, email: str, username: str) -> None:
    sender.send(notice, email, username=username)
