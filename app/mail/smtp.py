"""SMTP, as Flask-Mailman speaks it, but with the server's certificate checked after STARTTLS."""

import smtplib
import ssl
from typing import Any

from flask_mailman.backends import smtp

from app.mail.letters import Letter


class VerifyingSMTP(smtplib.SMTP):
    """A connection that trusts no server that can't prove its name."""

    def starttls(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        return super().starttls(context=ssl.create_default_context())


class EmailBackend(smtp.EmailBackend):  # type: ignore[misc]  # untyped there
    """Flask-Mailman's backend for the letters of ``app.mail.letters``."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return smtplib.SMTP_SSL if self.use_ssl else VerifyingSMTP

    def _send(self, letter: Letter) -> bool:
        self.connection.send_message(letter.message())
        return True
