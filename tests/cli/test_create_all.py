"""``db.create_all()`` creates the same schema as the migrations."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, inspect, text, update
from sqlalchemy.exc import DatabaseError

from app.audit.models import AuditEvent
from app.extensions import db
from tests.accounts import PASSWORD, Account
from tests.waiting import drain

IGNORED_TABLES = {"alembic_version", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"}
PARTS = ("columns", "indexes", "unique_constraints", "foreign_keys", "check_constraints")
# DDL that the inspector does not return: triggers, functions, and the FTS5 table.
OTHER_DDL = {
    "sqlite": """
        SELECT name, sql FROM sqlite_schema
        WHERE type = 'trigger' OR sql LIKE 'CREATE VIRTUAL TABLE%'
    """,
    "postgresql": """
        SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    """,
}


def describe(part):
    options = {name: str(value) for name, value in part.get("dialect_options", {}).items()}
    return str(sorted((part | {"dialect_options": options, "comment": None}).items(), key=str))


def schema():
    """Return a description of all tables, columns, constraints, indexes and triggers."""
    inspector = inspect(db.engine)
    tables = {
        (table, part): sorted(map(describe, getattr(inspector, f"get_{part}")(table)))
        for table in inspector.get_table_names()
        if table not in IGNORED_TABLES
        for part in PARTS
    }
    keys = {(table, "primary key"): str(inspector.get_pk_constraint(table)) for table, _ in tables}
    other = db.session.execute(text(OTHER_DDL[db.engine.dialect.name])).all()
    db.session.remove()
    return tables | keys | {name: "".join(sql.split()) for name, sql in other}


def test_schema_equals_that_of_the_migrations(app, empty_database):
    db.create_all()
    created = schema()
    with app.app_context():
        migrated = schema()
    assert created == migrated


def test_tables_can_be_dropped_and_created_again(empty_database):
    db.create_all()
    created = schema()
    db.drop_all()
    assert schema() == {}
    db.create_all()
    assert schema() == created


def test_audit_events_cannot_be_changed(empty_database):
    db.create_all()
    event = {"event": "login_failed", "details": {}, "created_at": datetime.now(UTC)}
    db.session.execute(insert(AuditEvent).values(event))
    with pytest.raises(DatabaseError, match="audit_events are not changed"):
        db.session.execute(update(AuditEvent).values(details={"a": 1}))
    db.session.rollback()


def test_main_flows_work(app_without_tables):
    with app_without_tables.app_context():
        db.create_all()
    client = app_without_tables.test_client()
    user = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    assert client.post("/api/v1/auth/register", json=user).status_code == 201
    login = client.post("/api/v1/auth/login", json={"username": "ada", "password": PASSWORD})
    assert login.status_code == 200
    ada = Account(client, login.json)

    milk = ada.task("Buy milk", description="from the *farm*", due_date="2030-01-31")
    bread = ada.task("Buy bread")
    assert ada.get("/tasks").json["data"] == [bread, milk]
    assert ada.get("/tasks?q=FARM milk").json["data"] == [milk]
    path = f"/tasks/{milk['id']}"
    updated = ada.patch(path, {"title": "Buy oat drink"}, headers={"If-Match": '"1"'})
    assert (updated.status_code, updated.json["version"]) == (200, 2)
    assert ada.patch(path, {"title": "x"}, headers={"If-Match": '"1"'}).status_code == 412
    assert ada.get("/tasks?q=milk").json["data"] == []
    assert ada.get("/tasks?q=oat").json["data"] == [updated.json]

    key = {"Idempotency-Key": "key-1"}
    first, repeated = (ada.post("/tasks", {"title": "Once"}, headers=key) for _ in range(2))
    assert (first.status_code, repeated.json) == (201, first.json)

    export = ada.post("/exports", {"format": "json"})
    assert export.status_code == 202
    with app_without_tables.app_context():
        drain()
    result = ada.get(f"/jobs/{export.json['id']}/result")
    assert [task["title"] for task in result.json["tasks"]] == [
        "Buy oat drink",
        "Buy bread",
        "Once",
    ]

    assert ada.delete(path).status_code == 204
    assert ada.get(path).status_code == 404
    assert ada.get("/tasks?q=oat").json["data"] == []
    data = ada.get("/auth/me/export")
    assert data.status_code == 200
    assert "task_deleted" in [event["event"] for event in data.json["audit_events"]]
    assert ada.delete("/auth/me").status_code == 204
    assert ada.get("/tasks").status_code == 401
