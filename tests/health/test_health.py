"""Liveness and readiness: what a load balancer and an operator are told."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.extensions import db
from app.health import services
from tests.problems import assert_problem


def test_ping_and_liveness_answer_without_asking_anything(client, statements):
    with statements() as seen:
        assert client.get("/ping").json == {"message": "pong"}
        assert client.get("/health/live").json == {"status": "ok"}
    assert seen == []


def test_the_service_is_ready_when_the_database_answers_and_is_migrated(client):
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "parts": {"database": "ok", "migrations": "ok"}}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.fixture
def stamped(app):
    """Says of the database which migration it is at, until the test is over."""

    def stamp(revision):
        db.session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
        db.session.commit()

    with app.app_context():
        yield stamp
        stamp(services.head())


def test_a_database_that_is_behind_the_code_is_named(client, stamped):
    stamped("0001")
    answer = client.get("/health/ready")
    parts = {"database": "ok", "migrations": "failing"}
    body = assert_problem(answer, 503, "unavailable", parts=parts)
    assert "migrations" in body["detail"]
    assert answer.headers["Retry-After"] == "1"


def test_a_database_that_a_newer_version_has_migrated_serves_the_old_one_too(client, stamped):
    stamped("9999")
    assert client.get("/health/ready").json["parts"]["migrations"] == "ok"


def test_a_database_that_does_not_answer_is_named_and_told_no_secret(client, monkeypatch):
    def refuse(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("password is hunter2"))

    monkeypatch.setattr(db.session, "execute", refuse)
    monkeypatch.setattr(db.session, "scalar", refuse)
    answer = client.get("/health/ready")
    assert_problem(
        answer, 503, "unavailable", parts={"database": "failing", "migrations": "failing"}
    )
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("url", "state"), [("redis://127.0.0.1:6379/0", "ok"), ("redis://127.0.0.1:9/0", "failing")]
)
def test_redis_is_asked_where_there_is_one(app, url, state):
    with app.app_context():
        parts = services.readiness(url)
    assert parts == {"database": "ok", "migrations": "ok", "redis": state}
