"""``flask outbox``."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import insert, select

from app.extensions import db
from app.outbox import queue, schedule
from app.outbox.models import OutboxMessage
from tests.waiting import drain

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    with time_machine.travel(MOMENT, tick=False):
        yield lambda *args: runner.invoke(args=["outbox", *args])


@pytest.fixture
def add_message(app):
    """Insert an outbox message; return its id."""

    def insert_message(**values):
        common = {
            "type": "probe",
            "payload": {"secret": "hush"},
            "attempts": 0,
            "created_at": MOMENT,
            "due_at": MOMENT,
        }
        with app.app_context():
            message_id = db.session.scalar(
                insert(OutboxMessage).values(common | values).returning(OutboxMessage.id)
            )
            db.session.commit()
            return message_id

    return insert_message


@pytest.fixture
def add_dead_message(add_message):
    return lambda: add_message(attempts=13, failed_at=MOMENT, error="OSError")


def test_list_shows_state_but_not_payload(run, add_message, add_dead_message):
    waiting = add_message(attempts=2, error="OSError", due_at=MOMENT + timedelta(minutes=1))
    running = add_message(attempts=1, locked_until=MOMENT + timedelta(seconds=1))
    expired = add_message(attempts=1, locked_until=MOMENT)
    dead = add_dead_message()
    result = run("list")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{waiting}\tprobe\t2\twaiting\t2040-01-31T09:01:00Z\tOSError",
        f"{running}\tprobe\t1\trunning\t2040-01-31T09:00:00Z\t-",
        f"{expired}\tprobe\t1\twaiting\t2040-01-31T09:00:00Z\t-",
        f"{dead}\tprobe\t13\tdead\t2040-01-31T09:00:00Z\tOSError",
    ]


def test_retry_resets_dead_messages(run, app, add_dead_message, stored, monkeypatch):
    first, second, third = add_dead_message(), add_dead_message(), add_dead_message()
    result = run("retry", str(first), str(third))
    assert (result.exit_code, result.output) == (0, "Retrying 2 messages.\n")
    columns = (OutboxMessage.id, OutboxMessage.attempts, OutboxMessage.due_at, OutboxMessage.error)
    retried = select(*columns).where(OutboxMessage.failed_at.is_(None)).order_by(OutboxMessage.id)
    assert stored(retried) == [(first, 0, MOMENT, None), (third, 0, MOMENT, None)]
    payloads = []
    monkeypatch.setitem(
        queue.handlers, "probe", queue.Handler(lambda **payload: payloads.append(payload))
    )
    with app.app_context():
        assert drain() == 2
    assert payloads == [{"secret": "hush"}] * 2
    assert stored(select(OutboxMessage.id)) == [(second,)]


def test_retry_all_resets_all_dead_messages(run, add_message, add_dead_message, stored):
    waiting = add_message(attempts=5)
    add_dead_message()
    add_dead_message()
    assert run("retry", "--all").output == "Retrying 2 messages.\n"
    assert run("retry", "--all").output == "Retrying 0 messages.\n"
    attempts = select(OutboxMessage.attempts).where(OutboxMessage.id == waiting)
    assert stored(attempts) == [(5,)]


def test_retry_reports_messages_that_are_not_dead(run, add_message, add_dead_message):
    result = run("retry", str(add_message()), str(add_dead_message()))
    assert result.exit_code == 1
    assert "Retrying 1 of 2 messages" in result.output


@pytest.mark.parametrize("args", [(), ("1", "--all"), ("0",), (str(2**63),)])
def test_retry_requires_valid_ids_or_all(run, args):
    assert run("retry", *args).exit_code == 2


def test_purge_runs_only_purge_tasks(run, monkeypatch):
    monkeypatch.setattr(schedule, "periodic_tasks", {})
    ran = []

    @schedule.periodic(every=timedelta(days=1), purges=True)
    def purge_old():
        ran.append("old")
        return 3

    @schedule.periodic(every=timedelta(minutes=1))
    def remind():
        ran.append("remind")

    result = run("purge")
    assert (result.exit_code, ran) == (0, ["old"])
    assert result.output.endswith("purge_old: 3\n")
