"""SMTP backend of Flask-Mailman that verifies the server's certificate after STARTTLS."""

import smtplib
import ssl
from typing import Any

from flask_mailman.backends import smtp

from app.mail.sender import EmailMessage


class VerifyingSMTP(smtplib.SMTP):
    """SMTP connection that verifies certificates; smtplib does not by default."""

    def starttls(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        return super().starttls(context=ssl.create_default_context())


class EmailBackend(smtp.EmailBackend):  # type: ignore[misc]  # untyped there
    """Backend for the messages of ``app.mail.sender``."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return smtplib.SMTP_SSL if self.use_ssl else VerifyingSMTP

    def _send(self, message: EmailMessage) -> bool:
        self.connection.send_message(message.message())
        return True
