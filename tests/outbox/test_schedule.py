"""Periodic tasks without a broker."""

import logging
from datetime import timedelta

import pytest

from app.audit import services as audit
from app.audit.models import Event
from app.extensions import db
from app.outbox import schedule
from app.outbox.schedule import Timetable, periodic


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(schedule, "periodic_tasks", {})


@pytest.fixture
def moment(monkeypatch):
    """The monotonic time, in seconds, as a mutable list."""
    now = [5.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def seen(registered):
    """Names of the tasks that ran; one runs every minute, one every hour."""
    ran = []

    @periodic(every=timedelta(minutes=1))
    def often():
        ran.append("often")

    @periodic(every=timedelta(hours=1), purges=True)
    def seldom():
        ran.append("seldom")
        return 2

    return ran


def run_all(timetable):
    while timetable.run_next():
        pass


def test_tasks_run_at_start_and_then_at_their_interval(app, seen, moment):
    timetable = Timetable()
    with app.app_context():
        run_all(timetable)
        assert seen == ["often", "seldom"]
        run_all(timetable)
        assert seen == ["often", "seldom"]
        moment[0] += 60
        run_all(timetable)
        assert seen == ["often", "seldom", "often"]
        moment[0] += 3540
        run_all(timetable)
        assert seen == ["often", "seldom", "often", "often", "seldom"]


def test_failed_task_is_rolled_back_and_others_run(app, seen, moment, stored, caplog):
    @periodic(every=timedelta(minutes=1))
    def fail():
        audit.record(Event.data_exported, user_id=1, actor_id=None)
        raise RuntimeError("not now")

    @periodic(every=timedelta(minutes=1))
    def later():
        seen.append("later")
        assert not db.session.connection().in_nested_transaction()
        db.session.commit()

    with app.app_context():
        run_all(Timetable())
    assert seen == ["often", "seldom", "later"]
    assert "fail failed; it runs again later" in caplog.text
    assert stored(audit.AuditEvent.__table__.select()) == []


def test_run_is_logged_with_name_and_rows(app, seen, caplog):
    caplog.set_level(logging.INFO)
    [often, seldom] = schedule.periodic_tasks
    assert often.startswith("tests.outbox.test_schedule.")
    assert often.endswith("often")
    with app.app_context():
        assert schedule.run(seldom) == 2
    [record] = [record for record in caplog.records if record.name == schedule.__name__]
    assert (record.periodic, record.rows) == (seldom, 2)
    assert record.duration_ms >= 0


def test_unknown_name_raises(app, registered):
    with app.app_context(), pytest.raises(LookupError):
        schedule.run("app.gone")
