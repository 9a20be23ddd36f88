"""Health endpoints."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import OperationalError

from app.extensions import db
from app.health import services
from app.outbox.models import OutboxMessage
from tests.problems import assert_problem


def test_ping_and_liveness_run_no_statements(client, statements):
    with statements() as seen:
        assert client.get("/ping").json == {"message": "pong"}
        assert client.get("/health/live").json == {"status": "ok"}
        assert client.get("/health").json == {"status": "ok"}
    assert seen == []


def test_service_is_ready_with_a_migrated_database(client):
    response = client.get("/health/ready")
    assert response.status_code == 200
    parts = {"database": "ok", "migrations": "ok", "outbox": "ok"}
    assert response.json == {"status": "ok", "parts": parts}
    assert response.headers["Cache-Control"] == "no-store"


@pytest.fixture
def stamp(app):
    """Set the revision of the database until the end of the test."""

    def set_revision(revision):
        db.session.execute(
            text("UPDATE alembic_version SET version_num = :revision"),
            {"revision": revision},
        )
        db.session.commit()

    with app.app_context():
        yield set_revision
        set_revision(services.head_revision())


def test_outdated_database_fails(client, stamp):
    stamp("0001")
    response = client.get("/health/ready")
    parts = {"database": "ok", "migrations": "failing", "outbox": "ok"}
    body = assert_problem(response, 503, "unavailable", parts=parts)
    assert "migrations" in body["detail"]
    assert response.headers["Retry-After"] == "1"


def test_database_of_a_newer_release_is_accepted(client, stamp):
    stamp("9999")
    assert client.get("/health/ready").json["parts"]["migrations"] == "ok"


def test_unreachable_database_fails_without_revealing_secrets(client, monkeypatch):
    def fail(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("password is hunter2"))

    monkeypatch.setattr(db.session, "execute", fail)
    monkeypatch.setattr(db.session, "scalar", fail)
    response = client.get("/health/ready")
    parts = {"database": "failing", "migrations": "failing", "outbox": "failing"}
    assert_problem(response, 503, "unavailable", parts=parts)
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("url", "state"), [("redis://127.0.0.1:6379/0", "ok"), ("redis://127.0.0.1:9/0", "failing")]
)
def test_redis_is_checked_if_configured(app, url, state):
    with app.app_context():
        parts = services.check_readiness(url)
    assert parts == {"database": "ok", "migrations": "ok", "outbox": "ok", "redis": state}


@pytest.mark.parametrize(
    ("due_seconds_ago", "values", "state"),
    [
        (59, {}, "ok"),
        (61, {}, "failing"),
        (61, {"locked_until": datetime(2100, 1, 1, tzinfo=UTC)}, "ok"),
        (61, {"locked_until": datetime(2000, 1, 1, tzinfo=UTC)}, "failing"),
        (61, {"failed_at": datetime(2000, 1, 1, tzinfo=UTC)}, "ok"),
    ],
    ids=["due", "overdue", "leased", "lease expired", "dead"],
)
def test_message_that_is_due_for_a_minute_fails(app, client, due_seconds_ago, values, state):
    due_at = datetime.now(UTC) - timedelta(seconds=due_seconds_ago)
    message = {"type": "probe", "payload": {}, "attempts": 0, "created_at": due_at}
    with app.app_context():
        db.session.execute(insert(OutboxMessage).values(due_at=due_at, **message, **values))
        db.session.commit()
    response = client.get("/health/ready")
    if state == "ok":
        assert response.json["parts"]["outbox"] == "ok"
    else:
        parts = {"database": "ok", "migrations": "ok", "outbox": "failing"}
        body = assert_problem(response, 503, "unavailable", parts=parts)
        assert "outbox" in body["detail"]
