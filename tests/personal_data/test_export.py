"""The export of all that is kept of an account, and that deleting it leaves nothing."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile

import pytest
import time_machine
from sqlalchemy import String, cast, func, insert, or_, select

from app.audit.models import AuditEvent
from app.auth.models import (
    Actor,
    MailedToken,
    PersonalToken,
    RecoveryCode,
    SecondFactor,
    Session,
    User,
)
from app.extensions import db
from app.http.models import KeptAnswer
from app.personal_data import routes, services
from app.tasks.models import Task
from tests.factories import TaskRow
from tests.problems import assert_problem, parameters

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)
# What the export does not show: copies of answers, which are gone in a day, and the number that
# changes of tasks move on, which says nothing of anybody.
NOT_SHOWN = {"kept_answers", "task_generations"}


@pytest.fixture
def put(app):
    """Puts rows into a table."""

    def insert_rows(table, *rows):
        with app.app_context():
            db.session.execute(insert(table), list(rows))
            db.session.commit()

    return insert_rows


def rows_of(account):
    """A row of each table that the API doesn't fill by itself."""
    at = {"created_at": MOMENT}
    return [
        (
            MailedToken,
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
def filled(alice, bob, put):
    """Two accounts, of each of which there is a row in every table."""
    for account in (alice, bob):
        account.post(
            "/tasks", {"title": f"{account.username}'s"}, headers={"Idempotency-Key": "once"}
        )
        account.post("/auth/tokens", {"name": f"{account.username}'s", "scopes": ["tasks:read"]})
        account.post("/exports", {"format": "csv"})
        for table, row in rows_of(account):
            put(table, row)
    return alice


def owners():
    """Every column that says whose a row is."""
    return [
        column
        for table in db.metadata.sorted_tables
        for column in table.columns
        if column.name in {"user_id", "created_by"}
        or any(key.column.table is User.__table__ for key in column.foreign_keys)
    ]


def test_an_export_has_all_of_ones_data_as_the_api_shows_it(filled):
    alice = filled
    audit = alice.get("/auth/me/audit").json["data"]
    answer = alice.get("/auth/me/export")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="task-api-data.json"'
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.content_length == len(answer.data)
    told = answer.json
    assert told["account"] == alice.get("/auth/me").json
    assert told["second_factor"] == {"enabled": True, "recovery_codes_left": 1}
    assert told["sessions"][::-1] == alice.get("/auth/sessions").json["data"]
    assert told["personal_tokens"] == alice.get("/auth/tokens").json["data"]
    assert told["jobs"] == alice.get("/jobs").json["data"]
    assert told["tasks"] == alice.get("/tasks").json["data"]
    assert told["audit_events"][::-1] == audit
    assert told["mailed_tokens"][-1] == {
        "purpose": "change_email",
        "email": "alice@example.org",
        "created_at": "2040-01-31T09:00:00Z",
        "expires_at": "2040-01-31T09:00:00Z",
    }
    assert [len(told[name]) for name in ("personal_tokens", "tasks")] == [1, 1]


def test_an_export_of_little_has_every_member(alice):
    told = alice.get("/auth/me/export").json
    assert told["second_factor"] == {"enabled": False, "recovery_codes_left": 0}
    assert told["tasks"] == told["personal_tokens"] == []


def test_a_second_factor_that_is_not_confirmed_is_not_enabled(alice, put):
    _, (_, row), _ = rows_of(alice)
    put(SecondFactor, row | {"confirmed_at": None})
    assert alice.get("/auth/me/export").json["second_factor"]["enabled"] is False


def test_an_export_has_nobody_elses_data(filled, bob):
    text = filled.get("/auth/me/export").text
    assert "bob" not in text
    assert "alice" in text


def test_an_administrators_export_is_its_own_alone(filled, admin):
    told = admin.get("/auth/me/export").json
    assert told["tasks"] == []
    assert "alice" not in str(told)


def test_an_export_holds_no_hash_and_no_secret(filled, stored):
    [(password_hash,)] = stored(select(User.password_hash).where(User.id == filled.id))
    text = filled.get("/auth/me/export").text
    assert password_hash not in text
    for word in ("password_hash", "argon2", "token_hash", "refresh_id", "secret", "tap_"):
        assert word not in text
    [session] = filled.get("/auth/me/export").json["sessions"]
    assert "refresh_id" not in session


def test_sessions_that_are_over_are_in_it_too(alice, stored):
    with time_machine.travel(MOMENT, tick=False):
        whole = alice.again().get("/auth/me/export").json
    assert whole["exported_at"] == "2040-01-31T09:00:00Z"
    told = whole["sessions"]
    assert len(told) == len(stored(select(Session.id).where(Session.user_id == alice.id))) == 2
    assert [session["current"] for session in told] == [False, True]


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9])
def test_lists_are_whole_however_they_fall_into_chunks(alice, put, monkeypatch, count):
    monkeypatch.setattr(services, "CHUNK", 4)
    put(Task, *(TaskRow(created_by=alice.id, title=f"{number}") for number in range(count)))
    told = alice.get("/auth/me/export").json
    assert [task["title"] for task in told["tasks"]] == [str(number) for number in range(count)]


def test_an_export_shows_one_moment(app, alice, put, monkeypatch):
    """What is written while it is read is in none of it: not a task without its creation."""
    monkeypatch.setattr(services, "CHUNK", 1)
    put(Task, *(TaskRow(created_by=alice.id, title=f"{number}") for number in range(3)))
    chunks = services._chunks

    def write(number):
        other = alice.again()
        assert other.patch("/auth/me", {"time_zone": "Asia/Tokyo"}).status_code == 200
        other.task(f"meanwhile {number}")

    with ThreadPoolExecutor(1) as another:

        def writing_between(read):
            for number, rows in enumerate(chunks(read)):
                yield rows
                if number < 3:  # or without the rule it would never end
                    another.submit(write, number).result()

        monkeypatch.setattr(services, "_chunks", writing_between)
        told = alice.get("/auth/me/export").json
    assert [task["title"] for task in told["tasks"]] == ["0", "1", "2"]
    assert told["account"]["time_zone"] == "UTC"
    assert "account_changed" not in [event["event"] for event in told["audit_events"]]
    assert len(alice.get("/tasks").json["data"]) > 3


def test_an_export_is_recorded_and_not_in_itself(alice, stored):
    told = alice.get("/auth/me/export").json
    assert "data_exported" not in [event["event"] for event in told["audit_events"]]
    recorded = select(AuditEvent.user_id, AuditEvent.actor_id)
    assert stored(recorded.where(AuditEvent.event == "data_exported")) == [(alice.id, alice.id)]


def test_a_failure_is_a_refusal_and_is_not_recorded(app, alice, monkeypatch, stored):
    def failing(_):
        yield [{"id": 1}]
        raise RuntimeError

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(services, "_chunks", failing)
    assert_problem(alice.get("/auth/me/export"), 500, "internal_error")
    events = stored(select(AuditEvent.event).where(AuditEvent.event == "data_exported"))
    assert events == []
    assert alice.task()["title"] == "Buy milk"


def test_an_export_takes_no_query_and_no_personal_token(alice):
    assert parameters(alice.get("/auth/me/export", query_string={"x": 1})) == {"x"}
    asked = {"name": "script", "scopes": ["account:read", "tasks:read"]}
    alice.access_token = alice.post("/auth/tokens", asked).json["token"]
    assert_problem(alice.get("/auth/me/export"), 401, "wrong_token_type")


def test_however_many_tasks_there_are_few_statements_run(alice, put, statements):
    put(Task, *(TaskRow(created_by=alice.id) for _ in range(190)))
    with statements() as seen:
        assert len(alice.get("/auth/me/export").json["tasks"]) == 190
    assert len(seen) == 11  # the door, what there is one of, six lists, and the record


def test_an_export_knows_every_table_that_names_a_user(filled, stored):
    for column in owners():
        assert stored(select(func.count()).where(column == filled.id)) >= [(1,)], column
    told = filled.get("/auth/me/export").json
    shown = {name for name in told if told[name]}
    tables = {column.table.name for column in owners()}
    singular = {"second_factor": {"second_factors", "recovery_codes"}}
    known = set().union(*(singular.get(name, {name}) for name in shown))
    assert tables - NOT_SHOWN <= known


@pytest.mark.parametrize("by", ["itself", "an administrator"])
def test_a_deleted_account_is_named_by_no_row_but_the_records(filled, admin, bob, stored, by):
    if by == "itself":
        assert filled.delete("/auth/me").status_code == 204
    else:
        assert admin.delete(f"/users/{filled.id}").status_code == 204
    columns = owners()
    assert {column.table.name for column in columns} >= {
        PersonalToken.__tablename__,
        KeptAnswer.__tablename__,
        AuditEvent.__tablename__,
    }
    for column in columns:
        [(left,)] = stored(select(func.count()).where(column == filled.id))
        assert bool(left) == (column.table is AuditEvent.__table__), column
        assert stored(select(func.count()).where(column == bob.id)) >= [(1,)], column
    # Nor do its name or its address stand anywhere.
    for table in db.metadata.sorted_tables:
        texts = or_(*(cast(column, String).contains("alice") for column in table.columns))
        assert stored(select(func.count()).select_from(table).where(texts)) == [(0,)], table


def test_memory_stays_flat_however_much_there_is(app, alice, put):
    text = "x" * 2000
    for _ in range(5):
        put(Task, *(TaskRow(created_by=alice.id, description=text) for _ in range(900)))
    alice.get("/auth/me/export")  # what is made once is made
    with app.app_context(), SpooledTemporaryFile(routes.KEPT_IN_MEMORY) as file:
        tracemalloc.start()
        services.export_data(Actor(alice.id, "user", "UTC", "0" * 32), file)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = file.tell()
    assert size > 4500 * 2000
    assert peak < size / 2
