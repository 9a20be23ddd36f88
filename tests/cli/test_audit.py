"""``flask audit``."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from app.audit.models import AuditEvent

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda: runner.invoke(args=["audit", "purge"])


def test_events_go_when_they_are_older_than_the_days_that_are_set(run, app, accounts, stored):
    kept = select(AuditEvent.event).order_by(AuditEvent.id)
    with time_machine.travel(MOMENT, tick=False) as clock:
        accounts.make("alice")
        clock.shift(timedelta(days=200))
        accounts.log_in("alice")
        clock.shift(timedelta(days=165))
        result = run()
        assert (result.exit_code, result.output) == (0, "Deleted 0 events older than 365 days.\n")
        assert len(stored(kept)) == 3
        clock.shift(timedelta(microseconds=1))
        assert run().output == "Deleted 2 events older than 365 days.\n"
        assert stored(kept) == [("login_succeeded",)]
        assert run().output == "Deleted 0 events older than 365 days.\n"


def test_the_days_are_a_setting(run, app, accounts, monkeypatch, stored):
    with time_machine.travel(MOMENT, tick=False) as clock:
        accounts.make("alice")
        clock.shift(timedelta(days=8))
        monkeypatch.setitem(app.config, "AUDIT_DAYS", 7)
        assert run().output == "Deleted 2 events older than 7 days.\n"
    assert stored(select(AuditEvent.id)) == []
