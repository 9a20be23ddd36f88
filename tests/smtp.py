"""An SMTP server on loopback that keeps what it is sent."""

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
    """What the server says to one client; only as much as smtplib asks for."""

    server: "SmtpServer"

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline():
            verb = line.split()[0].upper().decode()
            if verb == "QUIT":
                return self.say("221 bye")
            getattr(self, f"on_{verb.lower()}", self.on_other)()
        return None

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def on_other(self) -> None:
        self.say("250 fine")

    def on_ehlo(self) -> None:
        self.say("250-here", "250-SMTPUTF8", "250-8BITMIME", "250 STARTTLS")

    def on_starttls(self) -> None:
        self.say("220 go on")
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.setup()

    def on_data(self) -> None:
        self.say("354 go on")
        lines = iter(self.rfile.readline, b".\r\n")
        raw = b"".join(line.removeprefix(b".") if line[:2] == b".." else line for line in lines)
        self.server.received.append(email.message_from_bytes(raw, policy=email.policy.default))
        self.say(self.server.verdict)


class SmtpServer(ThreadingTCPServer):
    """Keeps what it is sent in ``received``; ``verdict`` is what it answers to a mail."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Dialogue)
        self.port: int = self.server_address[1]
        self.tls = tls
        self.verdict = "250 kept"
        self.received: list[EmailMessage] = []

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that go away."""

    def wait(self, seconds: float = 60) -> EmailMessage:
        """Return the first mail, once it is there."""
        deadline = time.monotonic() + seconds
        while not self.received:
            assert time.monotonic() < deadline, "no mail arrived"
            time.sleep(0.05)
        return self.received[0]


@contextmanager
def listening(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[SmtpServer]:
    """Run a server."""
    with SmtpServer(port, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
