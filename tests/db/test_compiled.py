"""Compiled statements: same results and errors as the ORM."""

import logging

import pytest
from sqlalchemy import Engine, Integer, bindparam, event, func, insert, literal, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from app.db.compiled import CompiledSelect
from app.db.transactions import snapshot
from app.extensions import db
from app.request_context import RequestContext, use_context
from app.tasks.models import Task
from app.tasks.services import INSERT
from tests.factories import TaskRow

OWNED = select(Task.title, Task.priority, Task.due_date, Task.created_at).where(
    Task.created_by == bindparam("owner_id")
)
BY_TITLE = CompiledSelect(
    OWNED.where(Task.title.in_(bindparam("titles", expanding=True))).order_by(Task.id)
)
COUNT = CompiledSelect(select(func.count()).select_from(Task))


@pytest.fixture
def tasks(app, alice):
    rows = [TaskRow(created_by=alice.id, title=title, priority="high") for title in "abc"]
    with app.app_context():
        db.session.execute(insert(Task), rows)
        db.session.commit()
    return rows


@pytest.fixture
def context(app, tasks):
    with app.app_context():
        yield


@pytest.fixture(params=["listener", "no listener"])
def with_and_without_listener(request, app):
    """Run the test with and without a listener to engine events."""
    if request.param == "no listener":
        yield
        return
    with app.app_context():
        engine = db.engine

    def listener(*_):
        pass

    event.listen(engine, "before_cursor_execute", listener)
    yield
    event.remove(engine, "before_cursor_execute", listener)


def test_values_match_the_orm(context, alice, with_and_without_listener):
    rows = CompiledSelect(OWNED.order_by(Task.id)).all({"owner_id": alice.id})
    expected = db.session.execute(OWNED.order_by(Task.id), {"owner_id": alice.id}).all()
    assert len(rows) == 3
    assert [tuple(row) for row in rows] == [tuple(row) for row in expected]


@pytest.mark.parametrize("titles", [["b"], ["a", "c"], ["a", "b", "c", "d"], []])
def test_parameter_may_be_a_list_of_any_length(context, alice, titles, with_and_without_listener):
    rows = BY_TITLE.all({"owner_id": alice.id, "titles": titles})
    assert [row[0] for row in rows] == [title for title in titles if title in "abc"]


def test_first_of_no_rows_is_none(context):
    assert CompiledSelect(OWNED).first({"owner_id": 0}) is None


def test_missing_parameter_raises_key_error(context):
    with pytest.raises(KeyError):
        CompiledSelect(OWNED).all({})


def test_literal_is_converted_by_its_type(context):
    high = CompiledSelect(select(func.count()).where(Task.priority == "high"))
    assert high.all({}) == [(3,)]


def test_uncommitted_rows_are_visible_to_their_transaction_only(
    app, context, alice, with_and_without_listener
):
    db.session.execute(insert(Task), [TaskRow(created_by=alice.id)])
    assert COUNT.all({}) == [(4,)]
    with app.app_context():
        assert COUNT.all({}) == [(3,)]
    db.session.rollback()
    assert COUNT.all({}) == [(3,)]


def test_snapshot_is_stable(app, context, alice, with_and_without_listener):
    with snapshot():
        before = COUNT.all({})
        with app.app_context():
            db.session.execute(insert(Task), [TaskRow(created_by=alice.id)])
            db.session.commit()
        assert COUNT.all({}) == before == [(3,)]
    assert COUNT.all({}) == [(4,)]


def test_connections_are_returned_to_the_pool(context, alice, with_and_without_listener):
    for _ in range(2 * db.engine.pool.size()):
        COUNT.all({})
        with pytest.raises(DBAPIError):
            CompiledSelect(select(text("unknown_column"))).all({})
    assert db.engine.pool.checkedout() == 0


def test_statements_are_counted_in_the_request_context(context, with_and_without_listener):
    request = RequestContext()
    with use_context(request):
        COUNT.all({})
        COUNT.first({})
    assert request.queries == 2


@pytest.mark.parametrize("target", [Engine, None])
@pytest.mark.parametrize("event_name", ["before_cursor_execute", "after_cursor_execute"])
def test_engine_events_are_sent(app, alice, target, event_name):
    texts = []

    def listener(conn, cursor, statement, parameters, context, executemany):
        texts.append(statement.split()[0])

    task = alice.task()
    with app.app_context():
        target = target or db.engine
    event.listen(target, event_name, listener)
    try:
        assert alice.get(f"/tasks/{task['id']}").json == task
        changed = alice.patch(f"/tasks/{task['id']}", {"title": "Other"})
        alice.task()
    finally:
        event.remove(target, event_name, listener)
    assert changed.json["title"] == "Other"
    assert texts == [*["SELECT"] * 2, *["SELECT", "SELECT", "UPDATE"], *["SELECT"] * 2, "INSERT"]
    assert alice.get(f"/tasks/{task['id']}").json == changed.json
    assert len(texts) == 8


def test_sqlalchemy_logs_statements_without_parameters(alice, caplog):
    task = alice.task("A private title")
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        assert alice.get(f"/tasks/{task['id']}").json == task
    records = [record for record in caplog.records if record.name == "sqlalchemy.engine.Engine"]
    assert sum(record.getMessage().startswith("SELECT") for record in records) == 2
    assert "A private title" not in caplog.text


def test_database_errors_match_sqlalchemy(context, with_and_without_listener):
    invalid = select(literal(1).label("one")).select_from(text("no_such_table"))
    with pytest.raises(DBAPIError) as expected:
        db.session.execute(invalid)
    db.session.rollback()
    with pytest.raises(DBAPIError) as raised:
        CompiledSelect(invalid).all({})
    assert type(raised.value) is type(expected.value)
    assert type(raised.value) in {OperationalError, ProgrammingError}
    assert not raised.value.connection_invalidated
    assert COUNT.all({}) == [(3,)]


def test_failed_write_leaves_no_open_transaction(app, context, alice, with_and_without_listener):
    orphan = TaskRow(created_by=alice.id + 1000)
    pool = db.engine.pool
    for written in range(1, pool.size() + 1):
        with pytest.raises(IntegrityError):
            INSERT.execute(orphan)
        with app.app_context():
            db.session.execute(insert(Task), [TaskRow(created_by=alice.id)])
            db.session.commit()
        assert COUNT.all({}) == [(3 + written,)]


def test_errors_contain_no_parameters(context, with_and_without_listener):
    echo = CompiledSelect(select(func.no_such_function(bindparam("secret", type_=Integer))))
    with pytest.raises(DBAPIError) as raised:
        echo.all({"secret": 424242})
    assert "424242" not in str(raised.value)
