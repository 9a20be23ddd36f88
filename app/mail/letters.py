"""Letters: written from templates, sent by the backend that the settings choose."""

import re
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import urlsplit

from email_validator import validate_email
from flask import Blueprint, Flask, current_app, render_template

from app.extensions import mail

# A link longer than 78 characters stays in one piece (RFC 5322, 2.1.1, allows 998).
POLICY = SMTP.clone(max_line_length=998)

templates = Blueprint("mail", __name__, template_folder="templates")


@dataclass(frozen=True)
class Letter:
    """A mail to one address, as text and as HTML."""

    sender: str
    to: str
    subject: str
    text: str
    html: str
    reference: str | None = None

    def message(self) -> EmailMessage:
        """Return the mail as it goes out. Raises ValueError where a header is none."""
        message = EmailMessage(POLICY)
        message["From"] = self.sender
        message["To"] = self.to
        message["Subject"] = self.subject
        # Nobody's holiday notice is for us (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        if self.reference is not None:
            # Where it arrives twice, readers show it once.
            message["Message-ID"] = f"<{self.reference}>"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        return message


def can_send() -> bool:
    """Tell whether mail goes anywhere here."""
    return bool(current_app.config["MAIL_BACKEND"] != "dummy")


def send(template: str, to: str, *, reference: str | None = None, **context: Any) -> None:
    """Send what a template says of ``context`` to one address, now.

    What is sent again with the same ``reference`` is the same mail.
    The template's first paragraph is the subject, the others are the text; a paragraph that is a
    URL is a link in the HTML.
    """
    written = render_template(f"mail/{template}.txt", **context)
    subject, *paragraphs = re.split(r"\n\s*\n", written.strip())
    letter = Letter(
        sender=current_app.config["MAIL_DEFAULT_SENDER"],
        to=_transportable(to),
        subject=subject,
        text="\n\n".join(paragraphs),
        html=render_template("mail/letter.html", subject=subject, paragraphs=paragraphs),
        reference=f"{reference}@{_host()}" if reference else None,
    )
    with mail.get_connection() as connection:
        connection.send_messages([letter])


def _host() -> str:
    named = urlsplit(current_app.config["PUBLIC_URL"]).hostname or "localhost"
    return named.encode("idna").decode()


def _transportable(address: str) -> str:
    """Return an address with its domain in ASCII, unless only SMTPUTF8 can carry it anyway."""
    found = validate_email(address, check_deliverability=False, test_environment=True)
    return found.ascii_email or found.normalized


def init_app(app: Flask) -> None:
    """Prepare the backend and the templates; say so where no mail can go out."""
    mail.init_app(app)
    app.register_blueprint(templates)
    with app.app_context():
        if not can_send():
            app.logger.warning(
                "MAIL_SERVER is not set: no mail is sent, passwords can't be reset by mail, and a"
                " change of address counts at once."
            )
