"""What nobody can use any more is deleted, and nothing else is."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import delete, insert, select, update

from app import purges, transactions
from app.audit.models import AuditEvent
from app.auth import mailed_tokens, services
from app.auth.models import MailedToken, Session
from app.extensions import db
from app.http import idempotency
from app.http.models import KeptAnswer
from app.jobs.models import Job
from app.outbox import schedule
from app.outbox.models import OutboxItem
from app.transactions import delete_older
from tests.http.test_idempotency import KEY
from tests.plans import analyse, plans
from tests.problems import assert_problem

START = datetime(2040, 1, 31, 9, tzinfo=UTC)
A_LITTLE = timedelta(microseconds=1)
SESSIONS = select(Session.id).order_by(Session.created_at, Session.id)


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as travelled:
        yield travelled


@pytest.fixture
def alice(clock, accounts):
    return accounts.make("alice")


@pytest.fixture
def purge(app):
    """Runs a purge, or all of them, and returns how many rows went."""

    def run(one=None):
        with app.app_context():
            if one is not None:
                return one()
            every = schedule.registered().values()
            return sum(each.run() for each in every if each.purges)

    return run


def refresh(account):
    headers = {"Authorization": f"Bearer {account.refresh_token}"}
    pair = account.client.post("/api/v1/auth/refresh", headers=headers)
    assert pair.status_code == 200, pair.text
    account.access_token = pair.json["access_token"]
    account.refresh_token = pair.json["refresh_token"]


def test_each_is_done_again_and_again(app):
    found = {name: each.every for name, each in schedule.registered().items() if each.purges}
    ours = {
        "app.http.idempotency.purge": timedelta(hours=1),
        "app.auth.services.purge_sessions": timedelta(days=1),
        "app.auth.mailed_tokens.purge": timedelta(days=1),
        "app.purges.purge_events": timedelta(days=1),
        "app.purges.purge_jobs": timedelta(days=1),
        "app.purges.purge_given_up": timedelta(days=1),
    }
    assert found.items() >= ours.items()


def test_all_of_them_leave_what_is_in_use(alice, purge, stored, clock):
    alice.task()
    alice.post("/tasks", {"title": "Keyed"}, headers=KEY)
    tables = (AuditEvent.id, MailedToken.id, Session.id, KeptAnswer.key)
    before = [stored(select(column)) for column in tables]
    assert all(before)
    assert purge() == 0
    assert [stored(select(column)) for column in tables] == before
    assert alice.get("/auth/me").status_code == 200


def test_a_session_goes_when_it_has_been_idle_for_too_long_and_no_earlier(
    alice, accounts, clock, purge, stored
):
    used = accounts.log_in("alice")
    clock.shift(timedelta(days=29))
    refresh(used)
    [(idle_id,), (used_id,)] = stored(select(Session.id).order_by(Session.refreshed_at))
    clock.move_to(START + timedelta(days=30))
    assert purge(services.purge_sessions) == 0
    assert {session_id for (session_id,) in stored(SESSIONS)} == {idle_id, used_id}
    clock.shift(A_LITTLE)
    refresh(used)
    listed = used.get("/auth/sessions").json["data"]
    assert purge(services.purge_sessions) == 1
    assert stored(SESSIONS) == [(used_id,)]
    # What goes is just what is not listed any more.
    assert [session["id"] for session in listed] == [used_id]
    refresh(used)
    assert used.get("/auth/me").status_code == 200


def test_a_session_goes_after_90_days_however_often_it_was_refreshed(alice, clock, purge, stored):
    for _ in range(5):
        clock.shift(timedelta(days=15))
        refresh(alice)
        assert purge(services.purge_sessions) == 0
    clock.shift(timedelta(days=15))
    assert purge(services.purge_sessions) == 0
    assert len(stored(SESSIONS)) == 1
    clock.shift(A_LITTLE)
    assert purge(services.purge_sessions) == 1
    assert stored(SESSIONS) == []
    assert purge(services.purge_sessions) == 0


def test_a_session_that_is_purged_answers_as_one_that_is_over(alice, clock, purge):
    clock.shift(timedelta(days=31))
    headers = {"Authorization": f"Bearer {alice.refresh_token}"}

    def answer():
        return alice.client.post("/api/v1/auth/refresh", headers=headers)

    assert_problem(answer(), 401, "token_expired")
    assert purge(services.purge_sessions) == 1
    assert_problem(answer(), 401, "token_expired")


def test_a_session_that_is_refreshed_at_that_moment_stays(app, alice, clock, purge, stored):
    clock.shift(timedelta(days=31))
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("on SQLite writers wait in turn")
        db.session.execute(update(Session).values(refreshed_at=datetime.now(UTC)))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(purge, services.purge_sessions).result(timeout=10) == 0
        db.session.commit()
    assert purge(services.purge_sessions) == 0
    assert len(stored(SESSIONS)) == 1


def test_kept_answers_go_after_a_day(alice, clock, purge, stored):
    alice.post("/tasks", {"title": "Keyed"}, headers=KEY)
    clock.shift(timedelta(hours=24))
    assert purge(idempotency.purge) == 0
    assert stored(select(KeptAnswer.key)) == [(KEY["Idempotency-Key"],)]
    clock.shift(A_LITTLE)
    assert purge(idempotency.purge) == 1
    assert stored(select(KeptAnswer.key)) == []


def test_mailed_tokens_go_a_day_after_they_expired(alice, clock, mails, purge, stored):
    token = mails.token("alice@example.com")
    forgot = {"email": "alice@example.com"}
    assert alice.client.post("/api/v1/auth/password/forgot", json=forgot).status_code == 202
    assert len(mails.arrived()) == 1
    clock.shift(timedelta(hours=24) - A_LITTLE)
    assert purge(mailed_tokens.purge) == 0
    assert alice.client.post("/api/v1/auth/email/verify", json={"token": token}).status_code == 204
    assert stored(select(MailedToken.purpose)) == [("reset_password",)]
    clock.move_to(START + timedelta(hours=25))
    assert purge(mailed_tokens.purge) == 0
    clock.shift(A_LITTLE)
    assert purge(mailed_tokens.purge) == 1
    assert stored(select(MailedToken.id)) == []


def test_events_go_after_the_days_that_are_set(app, alice, clock, purge, stored, monkeypatch):
    monkeypatch.setitem(app.config, "AUDIT_DAYS", 7)
    count = len(stored(select(AuditEvent.id)))
    clock.shift(timedelta(days=7))
    assert purge(purges.purge_events) == 0
    assert len(stored(select(AuditEvent.id))) == count
    clock.shift(A_LITTLE)
    assert purge(purges.purge_events) == count
    assert stored(select(AuditEvent.id)) == []


def test_jobs_go_after_the_days_that_are_set(app, alice, clock, purge, stored, monkeypatch):
    monkeypatch.setitem(app.config, "JOB_DAYS", 3)
    ended = {
        "user_id": alice.id,
        "kind": "export",
        "format": "json",
        "state": "failed",
        "done": 0,
        "refused": 0,
        "created_at": START,
        "finished_at": START,
    }
    with app.app_context():
        db.session.execute(insert(Job), ended)
        db.session.commit()
    clock.shift(timedelta(days=3))
    assert purge(purges.purge_jobs) == 0
    assert len(stored(select(Job.id))) == 1
    clock.shift(A_LITTLE)
    assert purge(purges.purge_jobs) == 1
    assert stored(select(Job.id)) == []


def test_what_was_given_up_goes_after_30_days_and_what_waits_stays(
    app, alice, mails, clock, purge, stored
):
    mails.arrived()
    common = {"payload": {}, "attempts": 1, "created_at": START, "due_at": START}
    items = [
        common | {"kind": "waiting", "failed_at": None},
        common | {"kind": "given up", "failed_at": START},
        common | {"kind": "given up later", "failed_at": START + timedelta(days=1)},
    ]
    kinds = select(OutboxItem.kind).order_by(OutboxItem.id)
    with app.app_context():
        db.session.execute(insert(OutboxItem), items)
        db.session.commit()
    clock.shift(timedelta(days=30))
    assert purge(purges.purge_given_up) == 0
    assert len(stored(kinds)) == 3
    clock.shift(A_LITTLE)
    assert purge(purges.purge_given_up) == 1
    assert stored(kinds) == [("waiting",), ("given up later",)]


def fill(app, account, count):
    """Give an account so many sessions that are idle since START, and as many that are not."""
    rows = [
        {
            "id": f"{number:032x}",
            "user_id": account.id,
            "refresh_id": "x",
            "refreshed_at": refreshed_at,
            "refreshed_before": refreshed_at,
            "created_at": START,
            "last_used_at": refreshed_at,
            "expires_at": START + timedelta(days=90),
        }
        for number in range(2 * count)
        for refreshed_at in [START + timedelta(days=number % 2)]
    ]
    with app.app_context():
        db.session.execute(delete(Session))
        db.session.execute(insert(Session), rows)
        db.session.commit()


@pytest.mark.parametrize("count", [1, 9, 10, 11, 45])
def test_each_transaction_takes_a_few(
    app, alice, clock, purge, stored, statements, monkeypatch, count
):
    monkeypatch.setattr(transactions, "CHUNK", 10)
    fill(app, alice, count)
    clock.move_to(START + timedelta(days=30) + A_LITTLE)
    with statements() as seen:
        assert purge(services.purge_sessions) == count
    # Found and deleted; not all that may be of that end were found, and then none of the other.
    assert len(seen) == 2 * (count // 10) + (2 if count % 10 else 1) + 1
    assert len(stored(SESSIONS)) == count


def test_several_that_purge_at_once_delete_each_row_once(
    app, alice, clock, purge, stored, monkeypatch
):
    monkeypatch.setattr(transactions, "CHUNK", 10)
    fill(app, alice, 100)
    clock.move_to(START + timedelta(days=30) + A_LITTLE)
    start = Barrier(4)

    def run(_):
        start.wait()
        return purge(services.purge_sessions)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) + purge(services.purge_sessions) == 100
    assert len(stored(SESSIONS)) == 100


@pytest.mark.parametrize(
    ("column", "index", "count"),
    [
        (Session.expires_at, "ix_sessions_expires_at", 1),
        (Session.refreshed_at, "ix_sessions_refreshed_at", 5000),
        (KeptAnswer.created_at, "ix_kept_answers_created_at", 1),
    ],
)
def test_what_is_old_is_found_by_its_index(app, alice, column, index, count):
    fill(app, alice, 5000)
    answers = [
        {
            "user_id": alice.id,
            "key": str(number),
            "fingerprint": b"",
            "status": 201,
            "headers": {},
            "body": b"",
            "created_at": START + timedelta(seconds=number),
        }
        for number in range(10_000)
    ]
    with app.app_context():
        db.session.execute(insert(KeptAnswer), answers)
        first = update(Session).where(Session.id == f"{0:032x}")
        db.session.execute(first.values(expires_at=START))
        db.session.commit()
        analyse()
        with plans(app, f"FROM {column.class_.__tablename__}") as seen:
            assert delete_older(column, START + timedelta(seconds=1)) == count
    finding, deleting = seen[:2]
    assert index in finding, finding
    assert not re.search(r"ORDER BY|Sort|SCAN|Seq Scan", finding + deleting), seen
