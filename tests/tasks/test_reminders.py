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
HERS = "alice@example.com"
REMIND_AT = select(Task.remind_at).order_by(Task.id)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as travelled:
        yield travelled


@pytest.fixture
def alice(clock, accounts, mails):
    return verify_email(accounts.make("alice"), mails)


@pytest.fixture
def run(app):
    """Does what is done every minute."""

    def settle():
        with app.app_context():
            return reminders.send_reminders()

    return settle


@pytest.fixture
def reminded(run, mails):
    """Returns the subjects of the mails that the next run sends to alice."""

    def settle():
        run()
        letters = mails.arrived()
        assert {letter.to for letter in letters} <= {HERS}
        return sorted(letter.subject for letter in letters)

    return settle


def instant(text):
    return datetime.fromisoformat(text)


def test_it_is_done_every_minute(app):
    done = schedule.registered()["app.tasks.reminders.send_reminders"]
    assert (done.run, done.every) == (reminders.send_reminders, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("day", "zone", "moment"),
    [
        ("2030-06-15", "UTC", "2030-06-15T08:00:00Z"),
        ("2030-06-15", "Pacific/Kiritimati", "2030-06-14T18:00:00Z"),
        ("2030-06-15", "America/Adak", "2030-06-15T17:00:00Z"),
        ("2030-12-15", "America/Adak", "2030-12-15T18:00:00Z"),
        ("2030-06-15", "Asia/Kathmandu", "2030-06-15T02:15:00Z"),
        # The day on which clocks go forward, the one on which they go back, and those before.
        ("2030-03-30", "Europe/Zurich", "2030-03-30T07:00:00Z"),
        ("2030-03-31", "Europe/Zurich", "2030-03-31T06:00:00Z"),
        ("2030-10-26", "Europe/Zurich", "2030-10-26T06:00:00Z"),
        ("2030-10-27", "Europe/Zurich", "2030-10-27T07:00:00Z"),
        ("2030-10-06", "Australia/Lord_Howe", "2030-10-05T21:00:00Z"),
        # Samoa had no such day: its morning is that of the day after.
        ("2011-12-30", "Pacific/Apia", "2011-12-30T18:00:00Z"),
        ("9999-12-31", "Etc/GMT+12", "9999-12-31T20:00:00Z"),
    ],
)
def test_a_day_is_reminded_of_at_eight_in_its_zone(day, zone, moment):
    found = due_moment(datetime.fromisoformat(day).date(), None, zone)
    assert found.astimezone(UTC) == instant(moment)
    a_little = timedelta(microseconds=1)
    assert future_or_none(found, instant(moment) - a_little) == instant(moment)
    assert future_or_none(found, instant(moment)) is None


@pytest.mark.parametrize("zone", ["UTC", "Asia/Manila", "America/Juneau", "Pacific/Kiritimati"])
def test_the_first_day_of_the_calendar_is_past_everywhere(alice, stored, zone):
    alice.task(due_date="0001-01-01", time_zone=zone)
    alice.task(due_at="0001-01-01T00:00:00Z", time_zone=zone)
    assert stored(REMIND_AT) == [(None,), (None,)]


@pytest.mark.parametrize("own_zone", [None, "Asia/Kathmandu"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Adak", "Asia/Kathmandu"])
def test_the_tasks_zone_counts_and_else_the_owners(alice, stored, zone, own_zone):
    alice.patch("/auth/me", {"time_zone": zone})
    alice.task(due_date="2030-06-16", time_zone=own_zone)
    alice.task(due_at="2030-06-16T10:00:00+02:00", time_zone=own_zone)
    expected = {
        "Pacific/Kiritimati": instant("2030-06-15T18:00:00Z"),
        "America/Adak": instant("2030-06-16T17:00:00Z"),
        "Asia/Kathmandu": instant("2030-06-16T02:15:00Z"),
    }[own_zone or zone]
    assert stored(REMIND_AT) == [(expected,), (instant("2030-06-16T08:00:00Z"),)]


def test_one_is_reminded_once_at_the_moment_and_not_before(alice, clock, reminded, stored):
    alice.task("Call", due_at="2030-06-14T13:00:00Z")
    alice.task("Pay", due_date="2030-06-15")
    clock.move_to(instant("2030-06-14T12:59:59.999999Z"))
    assert reminded() == []
    clock.move_to(instant("2030-06-14T13:00:00Z"))
    assert reminded() == ["Due: Call"]
    assert reminded() == []
    clock.move_to(instant("2030-06-15T08:00:00Z"))
    assert reminded() == ["Due: Pay"]
    clock.shift(timedelta(days=400))
    assert reminded() == []
    assert stored(REMIND_AT) == [(None,), (None,)]


def test_what_fell_due_while_the_service_was_off_is_told_once(alice, clock, run, mails):
    alice.task("Call", due_at="2030-06-14T13:00:00Z")
    clock.shift(timedelta(days=30))
    assert run() == 1
    [letter] = mails.arrived()
    assert "Friday, 14 June 2030, 13:00 (UTC)" in letter.text
    assert (run(), mails.arrived()) == (0, [])


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
def test_what_is_past_closed_or_without_a_due_is_not_reminded_of(alice, stored, due):
    alice.task(**due)
    path = f"/tasks/{alice.task()['id']}"
    assert alice.patch(path, due).status_code == 200
    assert stored(REMIND_AT) == [(None,), (None,)]


@pytest.mark.parametrize("closed", ["completed", "cancelled"])
def test_closing_ends_a_reminder_and_reopening_brings_it_back(alice, stored, closed):
    path = f"/tasks/{alice.task(due_date='2030-06-15')['id']}"
    moment = [(instant("2030-06-15T08:00:00Z"),)]
    for status, expected in ((closed, [(None,)]), ("pending", moment), ("in_progress", moment)):
        assert alice.put(f"{path}/status", {"status": status}).status_code == 200
        assert stored(REMIND_AT) == expected


def test_reopening_after_the_moment_does_not_bring_it_back(alice, clock, stored, reminded):
    path = f"/tasks/{alice.task(due_at='2030-06-14T12:05:00Z')['id']}"
    alice.put(f"{path}/status", {"status": "completed"})
    clock.shift(timedelta(minutes=5))
    alice.put(f"{path}/status", {"status": "pending"})
    assert stored(REMIND_AT) == [(None,)]
    assert reminded() == []


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
def test_a_new_due_is_reminded_of_anew(alice, clock, stored, reminded, changes, moment):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    clock.shift(timedelta(minutes=5))
    assert reminded() == ["Due: Call"]
    assert alice.patch(path, changes).status_code == 200
    assert stored(REMIND_AT) == [(moment and instant(moment),)]
    clock.shift(timedelta(days=10))
    assert reminded() == (["Due: Call"] if moment else [])


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Ring"},
        {"status": "in_progress"},
        {"time_zone": "Asia/Tokyo"},
        {"due_at": "2030-06-14T14:05:00+02:00", "priority": "high"},
    ],
)
def test_what_does_not_move_the_moment_neither_repeats_nor_loses_it(
    alice, clock, stored, reminded, changes
):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    # The moment is there, and nobody has looked yet.
    clock.shift(timedelta(minutes=5))
    assert alice.patch(path, changes).status_code == 200
    assert stored(REMIND_AT) == [(instant("2030-06-14T12:05:00Z"),)]
    assert len(reminded()) == 1
    assert alice.patch(path, {"description": "again"} | changes).status_code == 200
    assert (stored(REMIND_AT), reminded()) == ([(None,)], [])


def test_a_reminder_is_no_change_of_the_task(alice, clock, run):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    before = alice.get(path)
    clock.shift(timedelta(minutes=5))
    assert run() == 1
    after = alice.get(path)
    assert (after.json, after.headers["ETag"]) == (before.json, before.headers["ETag"])


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("Pacific/Kiritimati", "2030-06-15T18:00:00Z"),
        ("America/Adak", "2030-06-16T17:00:00Z"),
    ],
)
def test_days_follow_their_owner_into_another_zone(
    alice, accounts, clock, mails, run, reminded, stored, zone, moment
):
    bob = accounts.make("bob")
    mails.arrived()
    alice.task("Hers", due_date="2030-06-16")
    alice.task("Elsewhere", due_date="2030-06-16", time_zone="Asia/Kathmandu")
    alice.task("Then", due_at="2030-06-16T09:00:00Z")
    alice.task("Over", due_date="2030-06-13")
    bob.task("His", due_date="2030-06-16")
    alice.patch("/auth/me", {"time_zone": zone})
    assert (mails.arrived(), run(), mails.arrived()) == ([], 1, [])
    eight = instant("2030-06-16T08:00:00Z")
    there = instant("2030-06-16T02:15:00Z")
    expected = [instant(moment), there, instant("2030-06-16T09:00:00Z"), None, eight]
    assert stored(REMIND_AT) == [(each,) for each in expected]
    clock.move_to(instant(moment))
    assert "Due: Hers" in reminded()


def test_a_zone_in_which_the_morning_is_over_reminds_at_once(alice, clock, mails, reminded):
    clock.move_to(instant("2030-06-15T07:00:00Z"))
    alice = alice.with_new_client()
    alice.task("Today", due_date="2030-06-15")
    alice.patch("/auth/me", {"time_zone": "Europe/Zurich"})
    assert mails.arrived() == []
    assert reminded() == ["Due: Today"]
    assert reminded() == []


def test_a_change_of_something_else_than_the_zone_looks_at_nothing(alice, stored):
    alice.task(due_date="2030-06-16")
    for changes in ({"username": "alicia"}, {"time_zone": "UTC"}):
        assert alice.patch("/auth/me", changes).status_code == 200
    assert stored(select(OutboxMessage.type)) == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Adak"])
@pytest.mark.parametrize("by", ["one", "batch"])
def test_an_administrators_change_counts_in_the_owners_zone(alice, accounts, stored, zone, by):
    root = accounts.make("root", admin=True)
    root.patch("/auth/me", {"time_zone": zone})
    task_id = alice.task()["id"]
    due = {"due_date": "2030-06-15"}
    if by == "one":
        answer = root.patch(f"/tasks/{task_id}", due)
    else:
        operation = {"op": "update", "id": task_id, "body": due}
        answer = root.post("/tasks/batch", {"atomic": True, "operations": [operation]})
    assert answer.status_code == 200
    assert stored(REMIND_AT) == [(instant("2030-06-15T08:00:00Z"),)]


def test_a_batch_sets_moves_and_ends_reminders(alice, stored):
    first, second = (alice.task(due_date="2030-06-15")["id"] for _ in range(2))
    operations = [
        {"op": "create", "body": {"title": "New", "due_date": "2030-06-16"}},
        {"op": "update", "id": first, "body": {"status": "completed"}},
        {"op": "update", "id": second, "body": {"due_at": "2030-06-17T09:00:00Z"}},
    ]
    assert alice.post("/tasks/batch", {"operations": operations}).status_code == 200
    expected = [None, instant("2030-06-17T09:00:00Z"), instant("2030-06-16T08:00:00Z")]
    assert stored(REMIND_AT) == [(each,) for each in expected]


@pytest.fixture
def change(app):
    """Changes alice's account beneath the API."""

    def write(**values):
        with app.app_context():
            hers = update(User).where(User.username == "alice")
            db.session.execute(hers.values(**values))
            db.session.commit()

    return write


UNWANTED = {
    "switched off": {"notify_when_due": False},
    "an address that is not proved": {"email_verified": False},
    "disabled": {"disabled_at": NOW},
}


@pytest.mark.parametrize("why", UNWANTED)
@pytest.mark.parametrize("when", ["before", "once it is enqueued"])
def test_who_is_not_to_be_mailed_is_not_and_not_later_either(
    alice, clock, change, run, mails, stored, why, when
):
    alice.task("Call", due_at="2030-06-14T12:05:00Z")
    clock.shift(timedelta(minutes=5))
    if when == "before":
        change(**UNWANTED[why])
    assert run() == 1
    change(**UNWANTED[why])
    assert len(stored(select(OutboxMessage.id))) == (when != "before")
    assert mails.arrived() == []
    change(notify_when_due=True, email_verified=True, disabled_at=None)
    assert (run(), mails.arrived(), stored(REMIND_AT)) == (0, [], [(None,)])


def test_where_no_mail_can_be_sent_none_waits(alice, clock, no_mail, run, stored):
    alice.task(due_at="2030-06-14T12:05:00Z")
    clock.shift(timedelta(minutes=5))
    assert run() == 1
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
def test_what_is_done_or_put_off_before_the_mail_goes_out_is_not_told(
    alice, clock, run, mails, change
):
    path = f"/tasks/{alice.task('Call', due_at='2030-06-14T12:05:00Z')['id']}"
    clock.shift(timedelta(minutes=5))
    assert run() == 1
    answer = alice.delete(path) if change is None else alice.patch(path, change)
    assert answer.status_code < 300
    assert mails.arrived() == []


def test_nothing_of_a_run_that_fails_is_kept(app, alice, clock, run, mails, stored, monkeypatch):
    alice.task("Call", due_at="2030-06-14T12:05:00Z")
    clock.shift(timedelta(minutes=5))

    def fail(*_):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(reminders, "commit", fail)
        with pytest.raises(RuntimeError):
            run()
    assert stored(REMIND_AT) == [(instant("2030-06-14T12:05:00Z"),)]
    assert stored(select(OutboxMessage.id)) == []
    run()
    assert recipients_and_subjects(mails.arrived()) == {(HERS, "Due: Call")}


def fill(app, account, count, **columns):
    rows = [TaskRow(created_by=account.id, title=f"Task {n}", **columns) for n in range(count)]
    with app.app_context():
        db.session.execute(insert(Task), rows)
        db.session.execute(update(Task).values(remind_at=NOW))
        db.session.commit()


def test_however_many_run_at_once_each_is_told_once(app, alice, mails, monkeypatch):
    monkeypatch.setattr(reminders, "BATCH_SIZE", 7)
    fill(app, alice, 100, due_at=NOW)
    start = Barrier(4)

    def settle(_):
        start.wait()
        with app.app_context():
            return reminders.send_reminders()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(settle, range(4))) == 100
    subjects = [letter.subject for letter in mails.arrived()]
    assert sorted(subjects) == sorted(f"Due: Task {number}" for number in range(100))


def test_a_task_that_its_owner_is_changing_waits_for_the_next_run(app, alice, run, reminded):
    fill(app, alice, 2, due_at=NOW)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("on SQLite writers wait in turn")
        first = select(Task).order_by(Task.id).limit(1).with_for_update()
        task = db.session.scalar(first.execution_options(locks_rows=True))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run).result(timeout=10) == 1
        task.title = "Changed"
        db.session.commit()
    assert reminded() == ["Due: Changed", "Due: Task 1"]


@pytest.mark.parametrize("count", [1, 40])
def test_a_run_takes_as_many_statements_however_many_are_due(
    app, alice, run, statements, stored, count
):
    fill(app, alice, count, due_at=NOW)
    with statements() as seen:
        assert run() == count
    # Found, settled, enqueued; and found that there is nothing more.
    assert len(seen) == 4, seen
    assert len(stored(select(OutboxMessage.id))) == count
