"""Connections: one per request, returned to the pool at its end."""

from contextlib import contextmanager

import pytest
from sqlalchemy import select, text, update

from app.auth.models import User
from app.db import connections
from app.extensions import db
from app.tasks import services
from tests.problems import assert_problem
from tests.recorders import record_connections


@contextmanager
def checkouts(app):
    """Record connections in use, and assert that all are returned to the pool."""
    with record_connections(app) as counts:
        yield counts
    with app.app_context():
        assert db.engine.pool.checkedout() == 0


@pytest.mark.parametrize("path", ["/tasks", "/tasks/{id}", "/tasks?q=milk", "/auth/sessions"])
def test_read_uses_one_connection(app, alice, path):
    task = alice.task("Milk")
    with checkouts(app) as counts:
        assert alice.get(path.format(**task)).status_code == 200
    assert counts == [1]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_change_uses_one_connection(app, alice, method):
    task = alice.task("Milk")
    with checkouts(app) as counts:
        body = {"title": "Bread", "status": "pending"}
        assert alice.call(method, f"/tasks/{task['id']}", json=body).json["title"] == "Bread"
    assert counts == [1]


def test_transaction_uses_the_connection_of_the_request(app, alice):
    task = alice.task("Milk")
    with checkouts(app) as counts:
        assert alice.delete(f"/tasks/{task['id']}").status_code == 204
        keyed = alice.post("/tasks", {"title": "Bread"}, headers={"Idempotency-Key": "k"})
        assert keyed.status_code == 201
    assert set(counts) == {1}


def test_failed_request_returns_its_connection(app, alice, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError

    task = alice.task("Milk")
    monkeypatch.setattr(services, "require_version", fail)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with checkouts(app) as counts:
        response = alice.patch(f"/tasks/{task['id']}", {"title": "Bread"})
        assert_problem(response, 500, "internal_error")
    assert counts == [1]


def test_connection_is_returned_after_each_statement_outside_a_request(app, alice):
    with app.app_context(), checkouts(app) as counts:
        services.READ.all({"task_id": 1, "actor_id": alice.id, "actor_role": "user"})
        assert db.engine.pool.checkedout() == 0
        services.READ.all({"task_id": 1, "actor_id": alice.id, "actor_role": "user"})
    assert counts == [1, 1]


def checked_out():
    """Return the connection that a statement would use."""
    with connections.checkout(db.engine) as connection:
        return connection


def test_invalidated_connection_is_replaced(app):
    with app.app_context():
        with connections.scope():
            first = checked_out()
            assert checked_out() is first
            first.invalidate()
            second = checked_out()
            assert second is not first
            assert second.cursor().execute("SELECT 1").fetchall() == [(1,)]
        assert db.engine.pool.checkedout() == 0


@pytest.fixture
def request_connection(app):
    """A scope with one shared connection."""
    with app.app_context():
        with connections.scope() as request_connection:
            checked_out()
            yield request_connection
            db.session.rollback()
        assert db.engine.pool.checkedout() == 0


def test_session_uses_the_connection_of_the_request(request_connection):
    shared = request_connection.pooled
    for end in (db.session.commit, db.session.rollback):
        assert db.session.execute(text("SELECT 1")).all() == [(1,)]
        assert db.session.connection().connection is shared
        end()
        assert checked_out() is shared
    assert db.engine.pool.checkedout() == 1


def test_uncommitted_changes_of_a_session_are_rolled_back(request_connection, alice):
    name = select(User.username).where(User.id == alice.id)
    db.session.execute(update(User).where(User.id == alice.id).values(username="eve"))
    assert db.session.scalar(name) == "eve"
    db.session.remove()
    assert db.session.scalar(name) == "alice"


def test_session_that_outlives_a_request_uses_another_connection(app, alice):
    with app.app_context():
        for _ in range(2):
            assert alice.get("/auth/me").json["username"] == "alice"
            assert db.engine.pool.checkedout() == 0
        assert db.session.scalar(select(User.username).where(User.id == alice.id)) == "alice"


@pytest.mark.parametrize("end", [db.session.rollback, db.session.remove])
def test_session_recovers_from_a_lost_connection(request_connection, end):
    lost = request_connection.pooled
    db.session.connection().invalidate()
    end()
    assert db.session.execute(text("SELECT 1")).all() == [(1,)]
    assert db.session.connection().connection is not lost
    db.session.rollback()
    assert checked_out() is not lost


def test_each_transaction_looks_up_its_connection_once(app):
    with app.app_context():
        first = db.session.connection()
        with db.session.begin_nested():
            assert db.session.connection() is first
        assert db.session.connection() is first
        db.session.rollback()
        second = db.session.connection()
        assert second is not first
        assert second.execute(text("SELECT 1")).scalar() == 1
        db.session.commit()
        assert db.session.connection() is not second
