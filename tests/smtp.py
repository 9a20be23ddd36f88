"""An SMTP server on loopback that stores the messages it receives."""

import email
import email.policy
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any


class _Dialogue(StreamRequestHandler):
    """A connection; implements the commands that smtplib uses."""

    server: "SmtpServer"

    def handle(self) -> None:
        self.reply("220 ready")
        while line := self.rfile.readline():
            verb = line.split()[0].upper().decode()
            if verb == "QUIT":
                return self.reply("221 bye")
            getattr(self, f"on_{verb.lower()}", self.on_other)()
        return None

    def reply(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def on_other(self) -> None:
        self.reply("250 ok")

    def on_ehlo(self) -> None:
        self.reply("250-localhost", "250-SMTPUTF8", "250-8BITMIME", "250 STARTTLS")

    def on_starttls(self) -> None:
        self.reply("220 go on")
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.setup()

    def on_data(self) -> None:
        self.reply("354 go on")
        lines = iter(self.rfile.readline, b".\r\n")
        raw = b"".join(line.removeprefix(b".") if line[:2] == b".." else line for line in lines)
        self.server.received.append(email.message_from_bytes(raw, policy=email.policy.default))
        self.reply(self.server.verdict)


class SmtpServer(ThreadingTCPServer):
    """Stores messages in ``received``; ``verdict`` is the reply to DATA."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Dialogue)
        self.port: int = self.server_address[1]
        self.tls = tls
        self.verdict = "250 stored"
        self.received: list[EmailMessage] = []

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that disconnect."""

    def wait(self, seconds: float = 60) -> EmailMessage:
        """Wait for the first message and return it."""
        deadline = time.monotonic() + seconds
        while not self.received:
            assert time.monotonic() < deadline, "no message arrived"
            time.sleep(0.05)
        return self.received[0]


@contextmanager
def listening(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[SmtpServer]:
    """Run an SMTP server."""
    with SmtpServer(port, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
