"""Mail of a running server, with crashes."""

import os
import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.server import Client, started
from tests.smtp import listening

POSTGRES = os.environ.get("TEST_DATABASE_URL")
ACCOUNT = {"username": "ada", "email": "ada@example.com", "password": "correct horse battery"}


def token_of(message):
    lines = message.get_body(("plain",)).get_content().splitlines()
    [token] = [line for line in lines if re.fullmatch(r"[\w-]{43}", line)]
    return token


@pytest.fixture
def smtp_port(monkeypatch):
    """The port on which the server under test expects the mail server."""
    with listening() as server:
        port = server.port
    monkeypatch.setenv("MAIL_SERVER", "127.0.0.1")
    monkeypatch.setenv("MAIL_PORT", str(port))
    monkeypatch.setenv("MAIL_USE_TLS", "0")
    return port


def test_new_user_gets_a_valid_token(smtp_port):
    with listening(smtp_port) as mailbox, started(POSTGRES) as server:
        with Client(server.port) as client:
            assert client.call("POST", "/auth/register", ACCOUNT)[0] == 201
            body = {"token": token_of(mailbox.wait())}
            assert client.call("POST", "/auth/email/verify", body) == (204, None)
        assert server.stop() == 0
        assert len(mailbox.received) == 1


def test_mail_survives_a_crash_and_an_absent_mail_server(smtp_port):
    with started(POSTGRES) as server:
        with Client(server.port) as client:
            assert client.call("POST", "/auth/register", ACCOUNT)[0] == 201
        server.kill()
        with listening(smtp_port) as mailbox:
            server.start()
            body = {"token": token_of(mailbox.wait())}
            with Client(server.port) as client:
                assert client.call("POST", "/auth/email/verify", body) == (204, None)


def test_reminder_that_fell_due_during_downtime_is_sent_once(smtp_port):
    with listening(smtp_port) as mailbox, started(POSTGRES, WEB_CONCURRENCY="2") as server:
        with Client(server.port) as client:
            assert client.call("POST", "/auth/register", ACCOUNT)[0] == 201
            body = {"token": token_of(mailbox.wait())}
            assert client.call("POST", "/auth/email/verify", body) == (204, None)
            client.log_in(ACCOUNT["username"], ACCOUNT["password"])
            due = datetime.now(UTC) + timedelta(seconds=1)
            task = {"title": "Call the dentist", "due_at": due.isoformat()}
            assert client.call("POST", "/tasks", task)[0] == 201
        mailbox.received.clear()
        server.kill()
        while datetime.now(UTC) < due:
            time.sleep(0.05)
        server.start()
        message = mailbox.wait()
        assert (message["To"], message["Subject"]) == (ACCOUNT["email"], "Due: Call the dentist")
        assert server.stop() == 0
        assert len(mailbox.received) == 1
