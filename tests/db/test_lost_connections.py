"""Database connections that end in a command, in a message, or in the middle of a response."""

from itertools import count

import pytest
import time_machine
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app import clock
from app.auth.models import EmailToken, Session
from app.db import engine
from app.extensions import db
from app.jobs import files
from app.outbox.leases import LEASE
from app.outbox.models import OutboxMessage
from tests.driver import before_statement, hooks, lose_connection
from tests.waiting import drain

COMMANDS = (
    ("users", "list"),
    ("users", "disable", "alice"),
    ("users", "reset", "alice", "--password", "a wholly new passphrase"),
    ("users", "delete", "alice", "--yes"),
    ("outbox", "list"),
    ("outbox", "retry", "--all"),
    ("outbox", "purge"),
    ("audit", "purge"),
)


@pytest.fixture
def hooked(app, monkeypatch):
    with hooks(app, monkeypatch):
        yield app


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_command_reports_a_lost_connection_in_one_line(hooked, alice, args):
    runner = hooked.test_cli_runner()
    for number in count(1):
        with before_statement(number, lose_connection(hooked)) as interruption:
            result = runner.invoke(args=args)
        if not interruption.happened:
            break
        assert result.exit_code in {0, 1}, result.output
        assert isinstance(result.exception, SystemExit | None), result.exception
        if result.exit_code:
            assert "Error: The database reported: " in result.output
    assert result.exit_code == 0, result.output
    assert number > 1


def test_message_is_handled_though_the_connection_was_lost(hooked, alice, mails, stored):
    for number in count(1):
        mails.arrived()
        email = {"email": "alice@example.com"}
        assert alice.client.post("/api/v1/auth/password/forgot", json=email).status_code == 202
        with hooked.app_context(), before_statement(number, lose_connection(hooked)) as lost:
            try:
                drain()
            except DBAPIError:
                db.session.remove()
        with time_machine.travel(clock.now() + 2 * LEASE):
            texts = [mail.text for mail in mails.arrived()]
        assert 1 <= len(texts) <= 2
        assert stored(select(OutboxMessage.id)) == []
        assert len(stored(select(EmailToken.id).where(EmailToken.purpose == "reset_password"))) == 1
        if not lost.happened:
            break
    assert number > 5


@pytest.mark.parametrize("begin", [engine.begin_write, engine.begin_snapshot])
def test_begin_raises_the_errors_of_sqlalchemy(hooked, begin):
    with hooked.app_context():
        db.session.connection()
        with before_statement(1, lose_connection(hooked)), pytest.raises(DBAPIError) as caught:
            begin(db.session.connection())
        is_postgresql = db.engine.dialect.name == "postgresql"
        assert caught.value.connection_invalidated is is_postgresql
        db.session.rollback()
        assert db.session.scalar(select(Session.id)) is None


def test_response_that_is_cut_off_is_logged_with_its_request_id(
    hooked, alice, drain, monkeypatch, caplog
):
    monkeypatch.setattr(files, "PIECE_SIZE", 100)
    for number in range(5):
        alice.task(f"Task {number}")
    job = alice.post("/exports", {"format": "json"}).json
    drain()
    headers = {"X-Request-ID": "download-7"}
    # The token, the job, the first piece, the second.
    with before_statement(4, lose_connection(hooked)), pytest.raises(DBAPIError):
        alice.get(f"/jobs/{job['id']}/result", headers=headers)
    assert "A response was cut off. request_id=download-7" in caplog.messages
    assert alice.get(f"/jobs/{job['id']}/result").status_code == 200
