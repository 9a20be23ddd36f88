"""``flask outbox``."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import insert, select

from app.extensions import db
from app.outbox import dispatcher, queue, schedule
from app.outbox.models import OutboxMessage

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    with time_machine.travel(MOMENT, tick=False):
        yield lambda *words: runner.invoke(args=["outbox", *words])


@pytest.fixture
def item(app):
    """Puts an item into the outbox, as it would be after some attempts."""

    def put(**values):
        common = {
            "type": "probe",
            "payload": {"secret": "hush"},
            "attempts": 0,
            "created_at": MOMENT,
            "due_at": MOMENT,
        }
        with app.app_context():
            added = db.session.scalar(
                insert(OutboxMessage).values(common | values).returning(OutboxMessage.id)
            )
            db.session.commit()
            return added

    return put


@pytest.fixture
def given_up(item):
    return lambda: item(attempts=13, failed_at=MOMENT, error="OSError")


def test_all_items_are_listed_with_their_state_and_without_their_payload(run, item, given_up):
    waiting = item(attempts=2, error="OSError", due_at=MOMENT + timedelta(minutes=1))
    held = item(attempts=1, locked_until=MOMENT + timedelta(seconds=1))
    left = item(attempts=1, locked_until=MOMENT)
    lost = given_up()
    result = run("list")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{waiting}\tprobe\t2\twaiting\t2040-01-31T09:01:00Z\tOSError",
        f"{held}\tprobe\t1\trunning\t2040-01-31T09:00:00Z\t-",
        f"{left}\tprobe\t1\twaiting\t2040-01-31T09:00:00Z\t-",
        f"{lost}\tprobe\t13\tdead\t2040-01-31T09:00:00Z\tOSError",
    ]


def test_what_was_given_up_is_tried_again_at_once_and_from_the_start(
    run, app, given_up, stored, monkeypatch
):
    first, second, third = given_up(), given_up(), given_up()
    result = run("retry", str(first), str(third))
    assert (result.exit_code, result.output) == (0, "Retrying 2 messages.\n")
    columns = (OutboxMessage.id, OutboxMessage.attempts, OutboxMessage.due_at, OutboxMessage.error)
    asked = select(*columns).where(OutboxMessage.failed_at.is_(None)).order_by(OutboxMessage.id)
    assert stored(asked) == [(first, 0, MOMENT, None), (third, 0, MOMENT, None)]
    done = []
    monkeypatch.setitem(queue.handlers, "probe", queue.Handler(lambda **said: done.append(said)))
    with app.app_context():
        assert dispatcher.drain() == 2
    assert done == [{"secret": "hush"}] * 2
    assert stored(select(OutboxMessage.id)) == [(second,)]


def test_all_that_was_given_up_is_tried_again_and_nothing_else(run, item, given_up, stored):
    waiting = item(attempts=5)
    given_up()
    given_up()
    assert run("retry", "--all").output == "Retrying 2 messages.\n"
    assert run("retry", "--all").output == "Retrying 0 messages.\n"
    asked = select(OutboxMessage.attempts).where(OutboxMessage.id == waiting)
    assert stored(asked) == [(5,)]


def test_what_was_not_given_up_is_named(run, item, given_up):
    result = run("retry", str(item()), str(given_up()))
    assert result.exit_code == 1
    assert "Retrying 1 of 2 messages" in result.output


@pytest.mark.parametrize("words", [(), ("1", "--all"), ("0",), (str(2**63),)])
def test_what_to_try_again_has_to_be_said(run, words):
    assert run("retry", *words).exit_code == 2


def test_a_purge_runs_all_that_purges_and_nothing_else(run, monkeypatch):
    monkeypatch.setattr(schedule, "_registered", {})
    seen = []

    @schedule.periodic(every=timedelta(days=1), purges=True)
    def purge_old():
        seen.append("old")
        return 3

    @schedule.periodic(every=timedelta(minutes=1))
    def remind():
        seen.append("remind")

    result = run("purge")
    assert (result.exit_code, seen) == (0, ["old"])
    assert result.output.endswith("purge_old: 3\n")
