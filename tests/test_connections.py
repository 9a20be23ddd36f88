"""A request has one connection, whatever it asks, and gives it back."""

from contextlib import contextmanager

import pytest
from sqlalchemy import select, text, update

from app import connections
from app.auth.models import User
from app.extensions import db
from app.tasks import services
from tests.problems import assert_problem
from tests.watching import connections_of


@contextmanager
def taken_of(app):
    """Collect how many are out, and see that all are given back."""
    with connections_of(app) as out:
        yield out
    with app.app_context():
        assert db.engine.pool.checkedout() == 0


@pytest.mark.parametrize("path", ["/tasks", "/tasks/{id}", "/tasks?q=milk", "/auth/sessions"])
def test_a_read_takes_one_connection(app, alice, path):
    task = alice.task("Milk")
    with taken_of(app) as out:
        assert alice.get(path.format(**task)).status_code == 200
    assert out == [1]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_change_takes_one_connection(app, alice, method):
    task = alice.task("Milk")
    with taken_of(app) as out:
        body = {"title": "Bread", "status": "pending"}
        assert alice.call(method, f"/tasks/{task['id']}", json=body).json["title"] == "Bread"
    assert out == [1]


def test_a_transaction_takes_over_the_connection_of_the_request(app, alice):
    task = alice.task("Milk")
    with taken_of(app) as out:
        assert alice.delete(f"/tasks/{task['id']}").status_code == 204
        keyed = alice.post("/tasks", {"title": "Bread"}, headers={"Idempotency-Key": "k"})
        assert keyed.status_code == 201
    assert set(out) == {1}


def test_a_request_that_fails_gives_its_connection_back(app, alice, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError

    task = alice.task("Milk")
    monkeypatch.setattr(services, "require_version", fail)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with taken_of(app) as out:
        answer = alice.patch(f"/tasks/{task['id']}", {"title": "Bread"})
        assert_problem(answer, 500, "internal_error")
    assert out == [1]


def test_outside_a_request_a_connection_goes_back_at_once(app, alice):
    with app.app_context(), taken_of(app) as out:
        services.READ.all({"task_id": 1, "actor_id": alice.id, "actor_is_admin": 0})
        assert db.engine.pool.checkedout() == 0
        services.READ.all({"task_id": 1, "actor_id": alice.id, "actor_is_admin": 0})
    assert out == [1, 1]


def test_a_connection_that_was_lost_is_not_shared_on(app):
    with app.app_context():
        place = connections.share()
        first = connections.take(db.engine)
        connections.leave(first)
        assert connections.take(db.engine) is first
        first.invalidate()
        second = connections.take(db.engine)
        assert second is not first
        assert second.cursor().execute("SELECT 1").fetchall() == [(1,)]
        connections.end_sharing(place)
        assert db.engine.pool.checkedout() == 0


@pytest.fixture
def place(app):
    """Where what a test does shares a connection, which is there already."""
    with app.app_context():
        place = connections.share()
        connections.leave(connections.take(db.engine))
        yield place
        db.session.rollback()
        connections.end_sharing(place)
        assert db.engine.pool.checkedout() == 0


def test_the_session_works_on_the_connection_of_the_request(place):
    shared = place.connection
    for end in (db.session.commit, db.session.rollback):
        assert db.session.execute(text("SELECT 1")).all() == [(1,)]
        assert db.session.connection().connection is shared
        end()
        assert connections.take(db.engine) is shared
    assert db.engine.pool.checkedout() == 1


def test_what_a_session_did_not_commit_is_gone_when_it_works_on_it_again(place, alice):
    name = select(User.username).where(User.id == alice.id)
    db.session.execute(update(User).where(User.id == alice.id).values(username="eve"))
    assert db.session.scalar(name) == "eve"
    db.session.remove()
    assert db.session.scalar(name) == "alice"


def test_a_session_that_outlives_a_request_goes_on_with_another_connection(app, alice):
    with app.app_context():
        for _ in range(2):
            assert alice.get("/auth/me").json["username"] == "alice"
            assert db.engine.pool.checkedout() == 0
        assert db.session.scalar(select(User.username).where(User.id == alice.id)) == "alice"


@pytest.mark.parametrize("after", [db.session.rollback, db.session.remove])
def test_a_session_goes_on_where_its_connection_was_lost(place, after):
    lost = place.connection
    db.session.connection().invalidate()
    after()
    assert db.session.execute(text("SELECT 1")).all() == [(1,)]
    assert db.session.connection().connection is not lost
    db.session.rollback()
    assert connections.take(db.engine) is not lost


def test_each_transaction_asks_for_its_connection_once(app):
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
