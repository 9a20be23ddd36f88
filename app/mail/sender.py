"""Email messages: rendered from templates, sent by the configured backend."""

import re
from dataclasses import dataclass
from email.message import EmailMessage as MIMEMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, render_template

from app.extensions import mail
from app.mail import addresses

# Keep long links on one line (RFC 5322, 2.1.1, allows 998 characters).
POLICY = SMTP.clone(max_line_length=998)

templates = Blueprint("mail", __name__, template_folder="templates")


@dataclass(frozen=True)
class EmailMessage:
    """An email to one address, as text and as HTML."""

    sender: str
    to: str
    subject: str
    text: str
    html: str
    reference: str | None = None

    def message(self) -> MIMEMessage:
        """Return the MIME message. Raises ValueError for an invalid header."""
        message = MIMEMessage(POLICY)
        message["From"] = self.sender
        message["To"] = self.to
        message["Subject"] = self.subject
        # Suppresses automatic replies (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        if self.reference is not None:
            # Mail clients show a message that arrives twice only once.
            message["Message-ID"] = f"<{self.reference}>"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        return message


def can_send() -> bool:
    """Return whether this installation sends email."""
    return bool(current_app.config["MAIL_BACKEND"] != "dummy")


def send(template: str, to: str, *, reference: str | None = None, **context: Any) -> None:
    """Render a template and send it to one address, now.

    The first paragraph of the template is the subject, the others are the text; a paragraph that is
    a URL becomes a link in the HTML. ``reference`` identifies the message if it is sent again.
    """
    rendered = render_template(f"mail/{template}.txt", **context)
    subject, *paragraphs = re.split(r"\n\s*\n", rendered.strip())
    host = urlsplit(current_app.config["PUBLIC_URL"]).hostname or "localhost"
    message = EmailMessage(
        sender=current_app.config["MAIL_DEFAULT_SENDER"],
        to=_ascii_domain(to),
        subject=subject,
        text="\n\n".join(paragraphs),
        html=render_template("mail/base.html", subject=subject, paragraphs=paragraphs),
        reference=f"{reference}@{host.encode('idna').decode()}" if reference else None,
    )
    with mail.get_connection() as connection:
        connection.send_messages([message])


def _ascii_domain(address: str) -> str:
    """Return an address with its domain in ASCII, unless its local part needs SMTPUTF8 anyway."""
    validated = addresses.parse(address)
    return validated.ascii_email or validated.normalized


def init_app(app: Flask) -> None:
    """Set up the backend and the templates; warn if no email can be sent."""
    mail.init_app(app)
    app.register_blueprint(templates)
    with app.app_context():
        if not can_send():
            app.logger.warning(
                "MAIL_SERVER is not set: no email is sent, passwords cannot be reset by email, and"
                " a change of address takes effect at once."
            )
