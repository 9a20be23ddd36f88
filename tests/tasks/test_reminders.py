"""Reminders: sent once, in the time zone of the task or of its owner."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import insert, select, update

from app.auth.models import User
from app.extensions import db
from app.outbox import schedule
from app.outbox.models import OutboxMessage
from app.tasks import reminders
from app.tasks.models import Task, due_moment, future_or_none
from tests.accounts import verify_email
from tests.factories import TaskRow
from tests.mailbox import recipients_and_subjects

NOW = datetime(2030, 6, 14, 12, tzinfo=UTC)
ALICE_EMAIL = "alice@example.com"
REMIND_AT = select(Task.remind_at).order_by(Task.id)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as frozen:
        yield frozen


@pytest.fixture
def alice(clock, accounts, mails):
    return verify_email(accounts.make("alice"), mails)


@pytest.fixture
def run_reminders(app):
    """Run the periodic task; return the number of processed reminders."""

    def run():
        with app.app_context():
            return reminders.send_reminders()

    return run


@pytest.fixture
def sent_subjects(run_reminders, mails):
    """Run the periodic task; return the subjects of the emails, which all go to alice."""

    def run():
        run_reminders()
        emails = mails.arrived()
        assert {email.to for email in emails} <= {ALICE_EMAIL}
        return sorted(email.subject for email in emails)

    return run


def parse(text):
    return datetime.fromisoformat(text)


def test_reminders_run_every_minute(app):
    periodic_task = schedule.periodic_tasks["app.tasks.reminders.send_reminders"]
    assert (periodic_task.run, periodic_task.every) == (
        reminders.send_reminders,
        timedelta(minutes=1),
    )


@pytest.mark.parametrize(
    ("day", "zone", "moment"),
    [
        ("2030-06-15", "UTC", "2030-06-15T08:00:00Z"),
        ("2030-06-15", "Pacific/Kiritimati", "2030-06-14T18:00:00Z"),
        ("2030-06-15", "America/Adak", "2030-06-15T17:00:00Z"),
        ("2030-12-15", "America/Adak", "2030-12-15T18:00:00Z"),
        ("2030-06-15", "Asia/Kathmandu", "2030-06-15T02:15:00Z"),
        # The days around the changes to and from daylight saving time.
        ("2030-03-30", "Europe/Zurich", "2030-03-30T07:00:00Z"),
        ("2030-03-31", "Europe/Zurich", "2030-03-31T06:00:00Z"),
        ("2030-10-26", "Europe/Zurich", "2030-10-26T06:00:00Z"),
        ("2030-10-27", "Europe/Zurich", "2030-10-27T07:00:00Z"),
        ("2030-10-06", "Australia/Lord_Howe", "2030-10-05T21:00:00Z"),
        # Samoa skipped this day; the reminder is sent on the next one.
        ("2011-12-30", "Pacific/Apia", "2011-12-30T18:00:00Z"),
        ("9999-12-31", "Etc/GMT+12", "9999-12-31T20:00:00Z"),
    ],
)
def test_due_date_reminds_at_eight_in_its_time_zone(day, zone, moment):
    due_at = due_moment(datetime.fromisoformat(day).date(), None, zone)
    assert due_at.astimezone(UTC) == parse(moment)
    microsecond = timedelta(microseconds=1)
    assert future_or_none(due_at, parse(moment) - microsecond) == parse(moment)
    assert future_or_none(due_at, parse(moment)) is None


@pytest.mark.parametrize("zone", ["UTC", "Asia/Manila", "America/Juneau", "Pacific/Kiritimati"])
def test_minimum_date_sets_no_reminder(alice, stored, zone):
    alice.task(due_date="0001-01-01", time_zone=zone)
    alice.task(due_at="0001-01-01T00:00:00Z", time_zone=zone)
    assert stored(REMIND_AT) == [(None,), (None,)]


@pytest.mark.parametrize("task_zone", [None, "Asia/Kathmandu"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Adak", "Asia/Kathmandu"])
def test_reminder_uses_time_zone_of_task_or_owner(alice, stored, zone, task_zone):
    alice.patch("/auth/me", {"time_zone": zone})
    alice.task(due_date="2030-06-16", time_zone=task_zone)
    alice.task(due_at="2030-06-16T10:00:00+02:00", time_zone=task_zone)
    expected = {
        "Pacific/Kiritimati": parse("2030-06-15T18:00:00Z"),
        "America/Adak": parse("2030-06-16T17:00:00Z"),
        "Asia/Kathmandu": parse("2030-06-16T02:15:00Z"),
    }[task_zone or zone]
    assert stored(REMIND_AT) == [(expected,), (parse("2030-06-16T08:00:00Z"),)]


def test_reminder_is_sent_once_when_due(alice, clock, sent_subjects, stored):
    alice.task("Call", due_at="2030-06-14T13:00:00Z")
    alice.task("Pay", due_date="2030-06-15")
    clock.move_to(parse("2030-06-14T12:59:59.999999Z"))
    assert sent_subjects() == []
    clock.move_to(parse("2030-06-14T13:00:00Z"))
    assert sent_subjects() == ["Due: Call"]
    assert sent_subjects() == []
    clock.move_to(parse("2030-06-15T08:00:00Z"))
    assert sent_subjects() == ["Due: Pay"]
    clock.shift(timedelta(days=400))
    assert sent_subjects() == []
    assert stored(REMIND_AT) == [(None,), (None,)]


def test_missed_reminder_is_sent_once_later(alice, clock, run_reminders, mails):
    alice.task("Call", due_at="2030-06-14T13:00:00Z")
    clock.shift(timedelta(days=30))
    assert run_reminders() == 1
    [email] = mails.arrived()
    assert "Friday, 14 June 2030, 13:00 (UTC)" in email.text
    assert (run_reminders(), mails.arrived()) == (0, [])


@pytest.mark.parametrize(
    "due",
    [
        {},
        {"due_at": "2030-06-14T12:00:00Z"},
        {"due_at": "2030-06-14T11:00:00Z"},
        {"due_date": "2030-06-14"},
        {"due_at": "2030-06-15T11:00:00Z", "status": "completed"},
        {"due_at": "2030-06-15T11:00:00Z", "status": "cancelled"},
    ],
)
def test_past_closed_or_undated_task_has_no_reminder(alice, stored, due):
    alice.task(**due)
    path = f"/tasks/{alice.task()['id']}"
    assert alice.patch(path, due).status_code == 200
    assert stored(REMIND_AT) == [(None,), (None,)]


@pytest.mark.parametrize("closed", ["completed", "cancelled"])
def test_closing_removes_and_reopening_restores_reminder(alice, stored, closed):
    path = f"/tasks/{alice.task(due_date='2030-06-15')['id']}"
    moment = [(parse("2030-06-15T08:00:00Z"),)]
    for status, expected in ((closed, [(None,)]), ("pending", moment), ("in_progress", moment)):
        assert alice.put(f"{path}/status", {"status": status}).status_code == 200
        assert stored(REMIND_AT) == expected


def test_reopening_after_due_time_restores_no_reminder(alice, clock, stored, sent_subjects):
    path = f"/tasks/{alice.task(due_at='2030-06-14T12:05:00Z')['id']}"
    alice.put(f"{path}/status", {"status": "completed"})
    clock.shift(timedelta(minutes=5))
    alice.put(f"{path}/status", {"status": "pending"})
    assert stored(REMIND_AT) == [(None,)]
    assert sent_subjects() == []


@pytest.mark.parametrize(
    ("changes", "moment"),
    [
        ({"due_at": "2030-06-20T09:30:00Z"}, "2030-06-20T09:30:00Z"),
        ({"due_date": "2030-06-20"}, "2030-06-20T08:00:00Z"),
        ({"due_date": "2030-06-20", "time_zone": "Asia/Kathmandu"}, "2030-06-20T02:15:00Z"),
        ({"due_at": None}, None),
        ({"due_at": "2030-06-14T12:01:00Z"}, None),
    ],
)
def test_changed_due_sets_a_new_reminder(alice, clock, stored, sent_subjects, changes, moment):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    clock.shift(timedelta(minutes=5))
    assert sent_subjects() == ["Due: Call"]
    assert alice.patch(path, changes).status_code == 200
    assert stored(REMIND_AT) == [(moment and parse(moment),)]
    clock.shift(timedelta(days=10))
    assert sent_subjects() == (["Due: Call"] if moment else [])


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Ring"},
        {"status": "in_progress"},
        {"time_zone": "Asia/Tokyo"},
        {"due_at": "2030-06-14T14:05:00+02:00", "priority": "high"},
    ],
)
def test_change_of_other_fields_keeps_the_reminder(alice, clock, stored, sent_subjects, changes):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    # The reminder is due, but has not been sent yet.
    clock.shift(timedelta(minutes=5))
    assert alice.patch(path, changes).status_code == 200
    assert stored(REMIND_AT) == [(parse("2030-06-14T12:05:00Z"),)]
    assert len(sent_subjects()) == 1
    assert alice.patch(path, {"description": "again"} | changes).status_code == 200
    assert (stored(REMIND_AT), sent_subjects()) == ([(None,)], [])


def test_reminder_does_not_change_version_or_etag(alice, clock, run_reminders):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    before = alice.get(path)
    clock.shift(timedelta(minutes=5))
    assert run_reminders() == 1
    after = alice.get(path)
    assert (after.json, after.headers["ETag"]) == (before.json, before.headers["ETag"])


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("Pacific/Kiritimati", "2030-06-15T18:00:00Z"),
        ("America/Adak", "2030-06-16T17:00:00Z"),
    ],
)
def test_reminders_follow_time_zone_change_of_owner(
    alice, accounts, clock, mails, run_reminders, sent_subjects, stored, zone, moment
):
    bob = accounts.make("bob")
    mails.arrived()
    alice.task("Hers", due_date="2030-06-16")
    alice.task("Elsewhere", due_date="2030-06-16", time_zone="Asia/Kathmandu")
    alice.task("Then", due_at="2030-06-16T09:00:00Z")
    alice.task("Over", due_date="2030-06-13")
    bob.task("His", due_date="2030-06-16")
    alice.patch("/auth/me", {"time_zone": zone})
    assert (mails.arrived(), run_reminders(), mails.arrived()) == ([], 1, [])
    of_bob = parse("2030-06-16T08:00:00Z")
    in_kathmandu = parse("2030-06-16T02:15:00Z")
    expected = [parse(moment), in_kathmandu, parse("2030-06-16T09:00:00Z"), None, of_bob]
    assert stored(REMIND_AT) == [(remind_at,) for remind_at in expected]
    clock.move_to(parse(moment))
    assert "Due: Hers" in sent_subjects()


def test_reminder_past_in_new_time_zone_is_sent_at_once(alice, clock, mails, sent_subjects):
    clock.move_to(parse("2030-06-15T07:00:00Z"))
    alice = alice.with_new_client()
    alice.task("Today", due_date="2030-06-15")
    alice.patch("/auth/me", {"time_zone": "Europe/Zurich"})
    assert mails.arrived() == []
    assert sent_subjects() == ["Due: Today"]
    assert sent_subjects() == []


def test_other_user_changes_do_not_recompute_reminders(alice, stored):
    alice.task(due_date="2030-06-16")
    for changes in ({"username": "alicia"}, {"time_zone": "UTC"}):
        assert alice.patch("/auth/me", changes).status_code == 200
    assert stored(select(OutboxMessage.type)) == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Adak"])
@pytest.mark.parametrize("request_type", ["single", "batch"])
def test_change_by_administrator_uses_time_zone_of_owner(
    alice, accounts, stored, zone, request_type
):
    root = accounts.make("root", admin=True)
    root.patch("/auth/me", {"time_zone": zone})
    task_id = alice.task()["id"]
    due = {"due_date": "2030-06-15"}
    if request_type == "single":
        response = root.patch(f"/tasks/{task_id}", due)
    else:
        operation = {"op": "update", "id": task_id, "body": due}
        response = root.post("/tasks/batch", {"atomic": True, "operations": [operation]})
    assert response.status_code == 200
    assert stored(REMIND_AT) == [(parse("2030-06-15T08:00:00Z"),)]


def test_batch_sets_moves_and_removes_reminders(alice, stored):
    first, second = (alice.task(due_date="2030-06-15")["id"] for _ in range(2))
    operations = [
        {"op": "create", "body": {"title": "New", "due_date": "2030-06-16"}},
        {"op": "update", "id": first, "body": {"status": "completed"}},
        {"op": "update", "id": second, "body": {"due_at": "2030-06-17T09:00:00Z"}},
    ]
    assert alice.post("/tasks/batch", {"operations": operations}).status_code == 200
    expected = [None, parse("2030-06-17T09:00:00Z"), parse("2030-06-16T08:00:00Z")]
    assert stored(REMIND_AT) == [(remind_at,) for remind_at in expected]


@pytest.fixture
def update_alice(app):
    """Update alice in the database."""

    def write(**values):
        with app.app_context():
            statement = update(User).where(User.username == "alice")
            db.session.execute(statement.values(**values))
            db.session.commit()

    return write


UNWANTED = {
    "notifications off": {"notify_when_due": False},
    "unverified address": {"email_verified": False},
    "disabled": {"disabled_at": NOW},
}


@pytest.mark.parametrize("reason", UNWANTED)
@pytest.mark.parametrize("when", ["before enqueuing", "after enqueuing"])
def test_unwanted_reminder_is_dropped(
    alice, clock, update_alice, run_reminders, mails, stored, reason, when
):
    alice.task("Call", due_at="2030-06-14T12:05:00Z")
    clock.shift(timedelta(minutes=5))
    if when == "before enqueuing":
        update_alice(**UNWANTED[reason])
    assert run_reminders() == 1
    update_alice(**UNWANTED[reason])
    assert len(stored(select(OutboxMessage.id))) == (when != "before enqueuing")
    assert mails.arrived() == []
    update_alice(notify_when_due=True, email_verified=True, disabled_at=None)
    assert (run_reminders(), mails.arrived(), stored(REMIND_AT)) == (0, [], [(None,)])


def test_without_mail_no_reminder_is_enqueued(alice, clock, no_mail, run_reminders, stored):
    alice.task(due_at="2030-06-14T12:05:00Z")
    clock.shift(timedelta(minutes=5))
    assert run_reminders() == 1
    assert stored(select(OutboxMessage.id)) == []
    assert stored(REMIND_AT) == [(None,)]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "completed"},
        {"due_at": "2030-06-15T12:00:00Z"},
        {"due_at": None},
        None,
    ],
)
def test_task_changed_before_sending_sends_no_reminder(alice, clock, run_reminders, mails, change):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    clock.shift(timedelta(minutes=5))
    assert run_reminders() == 1
    response = alice.delete(path) if change is None else alice.patch(path, change)
    assert response.status_code < 300
    assert mails.arrived() == []


def test_failed_run_is_rolled_back(app, alice, clock, run_reminders, mails, stored, monkeypatch):
    alice.task("Call", due_at="2030-06-14T12:05:00Z")
    clock.shift(timedelta(minutes=5))

    def fail(*_):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(reminders, "commit", fail)
        with pytest.raises(RuntimeError):
            run_reminders()
    assert stored(REMIND_AT) == [(parse("2030-06-14T12:05:00Z"),)]
    assert stored(select(OutboxMessage.id)) == []
    run_reminders()
    assert recipients_and_subjects(mails.arrived()) == {(ALICE_EMAIL, "Due: Call")}


def fill(app, account, count, **columns):
    rows = [TaskRow(created_by=account.id, title=f"Task {n}", **columns) for n in range(count)]
    with app.app_context():
        db.session.execute(insert(Task), rows)
        db.session.execute(update(Task).values(remind_at=NOW))
        db.session.commit()


def test_concurrent_runs_send_each_reminder_once(app, alice, mails, monkeypatch):
    monkeypatch.setattr(reminders, "BATCH_SIZE", 7)
    fill(app, alice, 100, due_at=NOW)
    start = Barrier(4)

    def send(_):
        start.wait()
        with app.app_context():
            return reminders.send_reminders()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(4))) == 100
    subjects = [email.subject for email in mails.arrived()]
    assert sorted(subjects) == sorted(f"Due: Task {number}" for number in range(100))


def test_locked_task_is_skipped_until_next_run(app, alice, run_reminders, sent_subjects):
    fill(app, alice, 2, due_at=NOW)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("SQLite has no row locks")
        first = select(Task).order_by(Task.id).limit(1).with_for_update()
        task = db.session.scalar(first.execution_options(locks_rows=True))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run_reminders).result(timeout=10) == 1
        task.title = "Changed"
        db.session.commit()
    assert sent_subjects() == ["Due: Changed", "Due: Task 1"]


@pytest.mark.parametrize("count", [1, 40])
def test_run_has_constant_statement_count(app, alice, run_reminders, statements, stored, count):
    fill(app, alice, count, due_at=NOW)
    with statements() as seen:
        assert run_reminders() == count
    # Select, update, enqueue, and a last select that finds nothing.
    assert len(seen) == 4, seen
    assert len(stored(select(OutboxMessage.id))) == count
