"""What was mailed, for tests: the outbox is emptied when they look."""

import re

from flask import Flask

from app.mail.letters import Letter
from app.outbox import work

TOKEN = re.compile(r"^[\w-]{43}$", re.MULTILINE)


class Mailbox:
    """The mails of an application under test."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.app.extensions["mailman"].outbox = []

    def arrived(self) -> list[Letter]:
        """Do what is enqueued, and return the mails that were sent since one looked last."""
        with self.app.app_context():
            work.drain()
        sent: list[Letter] = self.app.extensions["mailman"].outbox
        self.app.extensions["mailman"].outbox = []
        return sent

    def token(self, to: str) -> str:
        """Return the token that just arrived at an address."""
        [found] = [
            token
            for letter in self.arrived()
            if letter.to == to
            for token in TOKEN.findall(letter.text)
        ]
        return str(found)


def told(letters: list[Letter]) -> set[tuple[str, str]]:
    """Return to whom mails went, and on what."""
    return {(letter.to, letter.subject) for letter in letters}
