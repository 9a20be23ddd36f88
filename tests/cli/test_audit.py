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


def test_purge_deletes_events_older_than_audit_days(run, app, accounts, stored):
    query = select(AuditEvent.event).order_by(AuditEvent.id)
    with time_machine.travel(MOMENT, tick=False) as clock:
        accounts.make("alice")
        clock.shift(timedelta(days=200))
        accounts.log_in("alice")
        clock.shift(timedelta(days=165))
        result = run()
        assert (result.exit_code, result.output) == (0, "Deleted 0 events older than 365 days.\n")
        assert len(stored(query)) == 3
        clock.shift(timedelta(microseconds=1))
        assert run().output == "Deleted 2 events older than 365 days.\n"
        assert stored(query) == [("login_succeeded",)]
        assert run().output == "Deleted 0 events older than 365 days.\n"


def test_audit_days_is_configurable(run, app, accounts, monkeypatch, stored):
    with time_machine.travel(MOMENT, tick=False) as clock:
        accounts.make("alice")
        clock.shift(timedelta(days=8))
        monkeypatch.setitem(app.config, "AUDIT_DAYS", 7)
        assert run().output == "Deleted 2 events older than 7 days.\n"
    assert stored(select(AuditEvent.id)) == []
