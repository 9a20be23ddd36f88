"""What is done again and again, without a broker."""

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
    monkeypatch.setattr(schedule, "_registered", {})
    return schedule.registered


@pytest.fixture
def moment(monkeypatch):
    """The time that the process has run for, in seconds."""
    told = [5.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: told[0])
    return told


@pytest.fixture
def seen(registered):
    """What ran: something every minute, something every hour."""
    noted = []

    @periodic(every=timedelta(minutes=1))
    def often():
        noted.append("often")

    @periodic(every=timedelta(hours=1), purges=True)
    def seldom():
        noted.append("seldom")
        return 2

    return noted


def run_all(timetable):
    while timetable.run_next():
        pass


def test_each_is_run_when_the_process_starts_and_then_every_so_often(app, seen, moment):
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


def test_one_that_fails_leaves_nothing_behind_and_keeps_no_other_from_running(
    app, seen, moment, stored, caplog
):
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
    assert "fail failed; it is run again later" in caplog.text
    assert stored(audit.AuditEvent.__table__.select()) == []


def test_each_is_told_by_the_name_of_its_module_and_its_own_with_what_it_did(app, seen, caplog):
    caplog.set_level(logging.INFO)
    [often, seldom] = schedule.registered()
    assert often.startswith("tests.outbox.test_schedule.")
    assert often.endswith("often")
    with app.app_context():
        assert schedule.run(seldom) == 2
    [record] = [record for record in caplog.records if record.name == schedule.__name__]
    assert (record.periodic, record.rows) == (seldom, 2)
    assert record.duration_ms >= 0


def test_a_name_that_only_another_release_knows_is_refused(app, registered):
    with app.app_context(), pytest.raises(LookupError):
        schedule.run("app.gone")
