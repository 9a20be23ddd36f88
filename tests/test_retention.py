"""Retention: expired data is deleted, and nothing else."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import delete, insert, select, update

from app import retention
from app.api import idempotency
from app.api.models import IdempotencyRecord
from app.audit.models import AuditEvent
from app.auth import email_tokens
from app.auth.models import EmailToken, Session
from app.auth.services import sessions
from app.db import transactions
from app.db.transactions import delete_expired
from app.extensions import db
from app.jobs.models import Job
from app.outbox import schedule
from app.outbox.models import OutboxMessage
from tests.api.test_idempotency import KEY
from tests.plans import analyse, plans
from tests.problems import assert_problem

START = datetime(2040, 1, 31, 9, tzinfo=UTC)
ONE_MICROSECOND = timedelta(microseconds=1)
SESSIONS = select(Session.id).order_by(Session.created_at, Session.id)


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def alice(clock, accounts):
    return accounts.make("alice")


@pytest.fixture
def purge(app):
    """Run one purge function, or all of them; return the number of deleted rows."""

    def run(function=None):
        with app.app_context():
            if function is not None:
                return function()
            tasks = schedule.periodic_tasks.values()
            return sum(task.run() for task in tasks if task.purges)

    return run


def refresh(account):
    headers = {"Authorization": f"Bearer {account.refresh_token}"}
    pair = account.client.post("/api/v1/auth/refresh", headers=headers)
    assert pair.status_code == 200, pair.text
    account.access_token = pair.json["access_token"]
    account.refresh_token = pair.json["refresh_token"]


def test_each_purge_is_a_periodic_task(app):
    intervals = {name: task.every for name, task in schedule.periodic_tasks.items() if task.purges}
    expected = {
        "app.api.idempotency.purge": timedelta(hours=1),
        "app.auth.services.sessions.purge_sessions": timedelta(days=1),
        "app.auth.email_tokens.purge": timedelta(days=1),
        "app.retention.purge_events": timedelta(days=1),
        "app.retention.purge_jobs": timedelta(days=1),
        "app.retention.purge_dead_messages": timedelta(days=1),
    }
    assert intervals.items() >= expected.items()


def test_data_in_use_is_kept(alice, purge, stored, clock):
    alice.task()
    alice.post("/tasks", {"title": "Keyed"}, headers=KEY)
    tables = (AuditEvent.id, EmailToken.id, Session.id, IdempotencyRecord.key)
    before = [stored(select(column)) for column in tables]
    assert all(before)
    assert purge() == 0
    assert [stored(select(column)) for column in tables] == before
    assert alice.get("/auth/me").status_code == 200


def test_idle_session_is_deleted_after_its_limit(alice, accounts, clock, purge, stored):
    used = accounts.log_in("alice")
    clock.shift(timedelta(days=29))
    refresh(used)
    [(idle_id,), (used_id,)] = stored(select(Session.id).order_by(Session.refreshed_at))
    clock.move_to(START + timedelta(days=30))
    assert purge(sessions.purge_sessions) == 0
    assert {session_id for (session_id,) in stored(SESSIONS)} == {idle_id, used_id}
    clock.shift(ONE_MICROSECOND)
    refresh(used)
    listed = used.get("/auth/sessions").json["data"]
    assert purge(sessions.purge_sessions) == 1
    assert stored(SESSIONS) == [(used_id,)]
    # Sessions that are no longer listed are deleted.
    assert [session["id"] for session in listed] == [used_id]
    refresh(used)
    assert used.get("/auth/me").status_code == 200


def test_session_is_deleted_after_90_days_despite_refreshes(alice, clock, purge, stored):
    for _ in range(5):
        clock.shift(timedelta(days=15))
        refresh(alice)
        assert purge(sessions.purge_sessions) == 0
    clock.shift(timedelta(days=15))
    assert purge(sessions.purge_sessions) == 0
    assert len(stored(SESSIONS)) == 1
    clock.shift(ONE_MICROSECOND)
    assert purge(sessions.purge_sessions) == 1
    assert stored(SESSIONS) == []
    assert purge(sessions.purge_sessions) == 0


def test_deleted_session_gives_the_same_error_as_an_expired_one(alice, clock, purge):
    clock.shift(timedelta(days=31))
    headers = {"Authorization": f"Bearer {alice.refresh_token}"}

    def post_refresh():
        return alice.client.post("/api/v1/auth/refresh", headers=headers)

    assert_problem(post_refresh(), 401, "token_expired")
    assert purge(sessions.purge_sessions) == 1
    assert_problem(post_refresh(), 401, "token_expired")


def test_session_that_is_refreshed_concurrently_is_kept(app, alice, clock, purge, stored):
    clock.shift(timedelta(days=31))
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("SQLite serializes writers")
        db.session.execute(update(Session).values(refreshed_at=datetime.now(UTC)))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(purge, sessions.purge_sessions).result(timeout=10) == 0
        db.session.commit()
    assert purge(sessions.purge_sessions) == 0
    assert len(stored(SESSIONS)) == 1


def test_idempotency_records_are_deleted_after_a_day(alice, clock, purge, stored):
    alice.post("/tasks", {"title": "Keyed"}, headers=KEY)
    clock.shift(timedelta(hours=24))
    assert purge(idempotency.purge) == 0
    assert stored(select(IdempotencyRecord.key)) == [(KEY["Idempotency-Key"],)]
    clock.shift(ONE_MICROSECOND)
    assert purge(idempotency.purge) == 1
    assert stored(select(IdempotencyRecord.key)) == []


def test_email_tokens_are_deleted_a_day_after_they_expire(alice, clock, mails, purge, stored):
    token = mails.token("alice@example.com")
    forgot = {"email": "alice@example.com"}
    assert alice.client.post("/api/v1/auth/password/forgot", json=forgot).status_code == 202
    assert len(mails.arrived()) == 1
    clock.shift(timedelta(hours=24) - ONE_MICROSECOND)
    assert purge(email_tokens.purge) == 0
    assert alice.client.post("/api/v1/auth/email/verify", json={"token": token}).status_code == 204
    assert stored(select(EmailToken.purpose)) == [("reset_password",)]
    clock.move_to(START + timedelta(hours=25))
    assert purge(email_tokens.purge) == 0
    clock.shift(ONE_MICROSECOND)
    assert purge(email_tokens.purge) == 1
    assert stored(select(EmailToken.id)) == []


def test_events_are_deleted_after_audit_days(app, alice, clock, purge, stored, monkeypatch):
    monkeypatch.setitem(app.config, "AUDIT_DAYS", 7)
    count = len(stored(select(AuditEvent.id)))
    clock.shift(timedelta(days=7))
    assert purge(retention.purge_events) == 0
    assert len(stored(select(AuditEvent.id))) == count
    clock.shift(ONE_MICROSECOND)
    assert purge(retention.purge_events) == count
    assert stored(select(AuditEvent.id)) == []


def test_jobs_are_deleted_after_job_days(app, alice, clock, purge, stored, monkeypatch):
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
    assert purge(retention.purge_jobs) == 0
    assert len(stored(select(Job.id))) == 1
    clock.shift(ONE_MICROSECOND)
    assert purge(retention.purge_jobs) == 1
    assert stored(select(Job.id)) == []


def test_dead_messages_are_deleted_after_30_days(app, alice, mails, clock, purge, stored):
    mails.arrived()
    common = {"payload": {}, "attempts": 1, "created_at": START, "due_at": START}
    messages = [
        common | {"type": "waiting", "failed_at": None},
        common | {"type": "dead", "failed_at": START},
        common | {"type": "dead for 29 days", "failed_at": START + timedelta(days=1)},
    ]
    types = select(OutboxMessage.type).order_by(OutboxMessage.id)
    with app.app_context():
        db.session.execute(insert(OutboxMessage), messages)
        db.session.commit()
    clock.shift(timedelta(days=30))
    assert purge(retention.purge_dead_messages) == 0
    assert len(stored(types)) == 3
    clock.shift(ONE_MICROSECOND)
    assert purge(retention.purge_dead_messages) == 1
    assert stored(types) == [("waiting",), ("dead for 29 days",)]


def insert_sessions(app, account, count):
    """Insert ``count`` sessions that are idle since START, and as many that are a day younger."""
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
def test_rows_are_deleted_in_batches(
    app, alice, clock, purge, stored, statements, monkeypatch, count
):
    monkeypatch.setattr(transactions, "BATCH_SIZE", 10)
    insert_sessions(app, alice, count)
    clock.move_to(START + timedelta(days=30) + ONE_MICROSECOND)
    with statements() as seen:
        assert purge(sessions.purge_sessions) == count
    # Each batch is one SELECT and one DELETE; the last one of either column is a SELECT.
    assert len(seen) == 2 * (count // 10) + (2 if count % 10 else 1) + 1
    assert len(stored(SESSIONS)) == count


def test_concurrent_purges_delete_each_row_once(app, alice, clock, purge, stored, monkeypatch):
    monkeypatch.setattr(transactions, "BATCH_SIZE", 10)
    insert_sessions(app, alice, 100)
    clock.move_to(START + timedelta(days=30) + ONE_MICROSECOND)
    start = Barrier(4)

    def run(_):
        start.wait()
        return purge(sessions.purge_sessions)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) + purge(sessions.purge_sessions) == 100
    assert len(stored(SESSIONS)) == 100


@pytest.mark.parametrize(
    ("column", "index", "count"),
    [
        (Session.expires_at, "ix_sessions_expires_at", 1),
        (Session.refreshed_at, "ix_sessions_refreshed_at", 5000),
        (IdempotencyRecord.created_at, "ix_idempotency_records_created_at", 1),
    ],
)
def test_expired_rows_are_found_by_index(app, alice, column, index, count):
    insert_sessions(app, alice, 5000)
    records = [
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
        db.session.execute(insert(IdempotencyRecord), records)
        first = update(Session).where(Session.id == f"{0:032x}")
        db.session.execute(first.values(expires_at=START))
        db.session.commit()
        analyse()
        with plans(app, f"FROM {column.class_.__tablename__}") as seen:
            assert delete_expired(column, START + timedelta(seconds=1)) == count
    select_plan, delete_plan = seen[:2]
    assert index in select_plan, select_plan
    assert not re.search(r"ORDER BY|Sort|SCAN|Seq Scan", select_plan + delete_plan), seen
