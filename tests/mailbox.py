"""Emails sent by an application under test."""

import re

from flask import Flask

from app.mail.sender import EmailMessage
from tests.waiting import drain

TOKEN = re.compile(r"^[\w-]{43}$", re.MULTILINE)


class Mailbox:
    """Reads and removes the sent emails."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.app.extensions["mailman"].outbox = []

    def arrived(self) -> list[EmailMessage]:
        """Process the outbox, and return the emails sent since the last call."""
        with self.app.app_context():
            drain()
        sent: list[EmailMessage] = self.app.extensions["mailman"].outbox
        self.app.extensions["mailman"].outbox = []
        return sent

    def token(self, to: str) -> str:
        """Return the token that was just sent to an address."""
        [token] = [
            match
            for email in self.arrived()
            if email.to == to
            for match in TOKEN.findall(email.text)
        ]
        return str(token)


def recipients_and_subjects(emails: list[EmailMessage]) -> set[tuple[str, str]]:
    """Return the (recipient, subject) pairs of emails."""
    return {(email.to, email.subject) for email in emails}
