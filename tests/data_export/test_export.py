"""Export of all data stored about the current user, and deletion of that data."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile

import pytest
import time_machine
from sqlalchemy import String, cast, func, insert, or_, select

from app.api.models import IdempotencyRecord
from app.audit.models import AuditEvent
from app.auth.models import (
    Actor,
    EmailToken,
    PersonalToken,
    RecoveryCode,
    SecondFactor,
    Session,
    User,
)
from app.data_export import document, routes
from app.extensions import db
from app.tasks.models import Task
from tests.factories import TaskRow
from tests.problems import assert_problem, parameters

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)
# Tables that the export omits: copies of responses, which are deleted after a day.
OMITTED = {"idempotency_records"}


@pytest.fixture
def insert_into(app):
    """Insert rows into a table."""

    def insert_rows(table, *rows):
        with app.app_context():
            db.session.execute(insert(table), list(rows))
            db.session.commit()

    return insert_rows


def rows_of(account):
    """Return a row of each table that the API does not fill."""
    at = {"created_at": MOMENT}
    return [
        (
            EmailToken,
            {
                "user_id": account.id,
                "purpose": "change_email",
                "email": f"{account.username}@example.org",
                "token_hash": b"m" * 31 + bytes([account.id % 256]),
                "expires_at": MOMENT,
            }
            | at,
        ),
        (
            SecondFactor,
            {"user_id": account.id, "secret": b"s" * 32, "wrong_codes": 0, "confirmed_at": MOMENT}
            | at,
        ),
        (RecoveryCode, {"user_id": account.id, "code_hash": b"r" * 32} | at),
    ]


@pytest.fixture
def alice_with_data(alice, bob, insert_into):
    """Create rows of alice and of bob in every table; return alice."""
    for account in (alice, bob):
        account.post(
            "/tasks", {"title": f"{account.username}'s"}, headers={"Idempotency-Key": "once"}
        )
        account.post("/auth/tokens", {"name": f"{account.username}'s", "scopes": ["tasks:read"]})
        account.post("/exports", {"format": "csv"})
        for table, row in rows_of(account):
            insert_into(table, row)
    return alice


def owner_columns():
    """Return every column that references the owner of a row."""
    return [
        column
        for table in db.metadata.sorted_tables
        for column in table.columns
        if column.name in {"user_id", "created_by"}
        or any(key.column.table is User.__table__ for key in column.foreign_keys)
    ]


def test_export_has_all_data_as_the_api_shows_it(alice_with_data):
    alice = alice_with_data
    audit = alice.get("/auth/me/audit").json["data"]
    response = alice.get("/auth/me/export")
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.headers["Content-Disposition"] == 'attachment; filename="task-api-data.json"'
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.content_length == len(response.data)
    export = response.json
    assert export["account"] == alice.get("/auth/me").json
    assert export["second_factor"] == {"enabled": True, "recovery_codes_left": 1}
    assert export["sessions"][::-1] == alice.get("/auth/sessions").json["data"]
    assert export["personal_tokens"] == alice.get("/auth/tokens").json["data"]
    assert export["jobs"] == alice.get("/jobs").json["data"]
    assert export["tasks"] == alice.get("/tasks").json["data"]
    assert export["audit_events"][::-1] == audit
    assert export["mailed_tokens"][-1] == {
        "purpose": "change_email",
        "email": "alice@example.org",
        "created_at": "2040-01-31T09:00:00.000000Z",
        "expires_at": "2040-01-31T09:00:00.000000Z",
    }
    assert [len(export[name]) for name in ("personal_tokens", "tasks")] == [1, 1]


def test_empty_export_has_every_member(alice):
    export = alice.get("/auth/me/export").json
    assert export["second_factor"] == {"enabled": False, "recovery_codes_left": 0}
    assert export["tasks"] == export["personal_tokens"] == []


def test_unconfirmed_second_factor_is_not_enabled(alice, insert_into):
    _, (_, row), _ = rows_of(alice)
    insert_into(SecondFactor, row | {"confirmed_at": None})
    assert alice.get("/auth/me/export").json["second_factor"]["enabled"] is False


def test_export_has_no_data_of_others(alice_with_data, bob):
    text = alice_with_data.get("/auth/me/export").text
    assert "bob" not in text
    assert "alice" in text


def test_export_of_an_administrator_has_only_its_own_data(alice_with_data, admin):
    export = admin.get("/auth/me/export").json
    assert export["tasks"] == []
    assert "alice" not in str(export)


def test_export_has_no_hash_or_secret(alice_with_data, stored):
    [(password_hash,)] = stored(select(User.password_hash).where(User.id == alice_with_data.id))
    text = alice_with_data.get("/auth/me/export").text
    assert password_hash not in text
    for word in ("password_hash", "argon2", "token_hash", "refresh_id", "secret", "tap_"):
        assert word not in text
    [session] = alice_with_data.get("/auth/me/export").json["sessions"]
    assert "refresh_id" not in session


def test_export_includes_ended_sessions(alice, stored):
    with time_machine.travel(MOMENT, tick=False):
        export = alice.with_new_client().get("/auth/me/export").json
    assert export["exported_at"] == "2040-01-31T09:00:00.000000Z"
    sessions = export["sessions"]
    assert len(sessions) == len(stored(select(Session.id).where(Session.user_id == alice.id))) == 2
    assert [session["current"] for session in sessions] == [False, True]


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9])
def test_lists_are_complete_at_any_batch_boundary(alice, insert_into, monkeypatch, count):
    monkeypatch.setattr(document, "BATCH_SIZE", 4)
    insert_into(Task, *(TaskRow(created_by=alice.id, title=f"{number}") for number in range(count)))
    export = alice.get("/auth/me/export").json
    assert [task["title"] for task in export["tasks"]] == [str(number) for number in range(count)]


def test_export_is_a_snapshot(app, alice, insert_into, monkeypatch):
    """Writes during an export appear in none of its parts."""
    monkeypatch.setattr(document, "BATCH_SIZE", 1)
    insert_into(Task, *(TaskRow(created_by=alice.id, title=f"{number}") for number in range(3)))
    read_batches = document._batches

    def write(number):
        other = alice.with_new_client()
        assert other.patch("/auth/me", {"time_zone": "Asia/Tokyo"}).status_code == 200
        other.task(f"meanwhile {number}")

    with ThreadPoolExecutor(1) as pool:

        def write_between_batches(*args):
            for number, rows in enumerate(read_batches(*args)):
                yield rows
                if number < 3:  # without a snapshot, the export would never end
                    pool.submit(write, number).result()

        monkeypatch.setattr(document, "_batches", write_between_batches)
        export = alice.get("/auth/me/export").json
    assert [task["title"] for task in export["tasks"]] == ["0", "1", "2"]
    assert export["account"]["time_zone"] == "UTC"
    assert "account_changed" not in [event["event"] for event in export["audit_events"]]
    assert len(alice.get("/tasks").json["data"]) > 3


def test_export_is_audited_but_does_not_contain_its_own_event(alice, stored):
    export = alice.get("/auth/me/export").json
    assert "data_exported" not in [event["event"] for event in export["audit_events"]]
    events = select(AuditEvent.user_id, AuditEvent.actor_id)
    assert stored(events.where(AuditEvent.event == "data_exported")) == [(alice.id, alice.id)]


def test_failed_export_is_a_problem_and_is_not_audited(app, alice, monkeypatch, stored):
    def failing(_):
        yield [{"id": 1}]
        raise RuntimeError

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(document, "_batches", failing)
    assert_problem(alice.get("/auth/me/export"), 500, "internal_error")
    events = stored(select(AuditEvent.event).where(AuditEvent.event == "data_exported"))
    assert events == []
    assert alice.task()["title"] == "Buy milk"


def test_export_accepts_no_query_and_no_personal_token(alice):
    assert parameters(alice.get("/auth/me/export", query_string={"x": 1})) == {"x"}
    body = {"name": "script", "scopes": ["account:read", "tasks:read"]}
    alice.access_token = alice.post("/auth/tokens", body).json["token"]
    assert_problem(alice.get("/auth/me/export"), 401, "wrong_token_type")


def test_number_of_statements_does_not_depend_on_the_tasks(alice, insert_into, statements):
    insert_into(Task, *(TaskRow(created_by=alice.id) for _ in range(190)))
    with statements() as seen:
        assert len(alice.get("/auth/me/export").json["tasks"]) == 190
    assert len(seen) == 11  # authentication, single objects, six lists and the audit event


def test_export_covers_every_table_that_references_users(alice_with_data, stored):
    for column in owner_columns():
        assert stored(select(func.count()).where(column == alice_with_data.id)) >= [(1,)], column
    export = alice_with_data.get("/auth/me/export").json
    shown = {name for name in export if export[name]}
    tables = {column.table.name for column in owner_columns()}
    tables_of = {
        "second_factor": {"second_factors", "recovery_codes"},
        "mailed_tokens": {"email_tokens"},
    }
    known = set().union(*(tables_of.get(name, {name}) for name in shown))
    assert tables - OMITTED <= known


@pytest.mark.parametrize("actor", ["user", "administrator"])
def test_deleted_user_is_referenced_only_by_audit_events(
    alice_with_data, admin, bob, stored, actor
):
    if actor == "user":
        assert alice_with_data.delete("/auth/me").status_code == 204
    else:
        assert admin.delete(f"/users/{alice_with_data.id}").status_code == 204
    columns = owner_columns()
    assert {column.table.name for column in columns} >= {
        PersonalToken.__tablename__,
        IdempotencyRecord.__tablename__,
        AuditEvent.__tablename__,
    }
    for column in columns:
        [(count,)] = stored(select(func.count()).where(column == alice_with_data.id))
        assert bool(count) == (column.table is AuditEvent.__table__), column
        assert stored(select(func.count()).where(column == bob.id)) >= [(1,)], column
    # No table contains the username or the email address.
    for table in db.metadata.sorted_tables:
        texts = or_(*(cast(column, String).contains("alice") for column in table.columns))
        assert stored(select(func.count()).select_from(table).where(texts)) == [(0,)], table


def test_memory_does_not_grow_with_the_data(app, alice, insert_into):
    text = "x" * 2000
    for _ in range(5):
        insert_into(Task, *(TaskRow(created_by=alice.id, description=text) for _ in range(900)))
    alice.get("/auth/me/export")  # fill the caches
    with app.app_context(), SpooledTemporaryFile(routes.MAX_MEMORY) as file:
        tracemalloc.start()
        document.export_data(Actor(alice.id, "user", "UTC", "0" * 32), file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = file.tell()
    assert size > 4500 * 2000
    assert peak < size / 2
