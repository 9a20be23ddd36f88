"""Reads past the ORM give what it would give, and fail as it would fail."""

import logging

import pytest
from sqlalchemy import Engine, Integer, bindparam, event, func, insert, literal, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from app.extensions import db
from app.origin import Origin, coming_from
from app.statements import Query
from app.tasks.models import Task
from app.tasks.services import CREATE
from app.transactions import snapshot
from tests.factories import TaskRow

OWNED = select(Task.title, Task.priority, Task.due_date, Task.created_at).where(
    Task.created_by == bindparam("owner_id")
)
NAMED = Query(OWNED.where(Task.title.in_(bindparam("titles", expanding=True))).order_by(Task.id))
COUNT = Query(select(func.count()).select_from(Task))


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


@pytest.fixture(params=["heard", "unheard"])
def listened(request, app):
    """Whether anybody listens to SQLAlchemy, it is the same."""
    if request.param == "unheard":
        yield
        return
    with app.app_context():
        engine = db.engine

    def listener(*_):
        pass

    event.listen(engine, "before_cursor_execute", listener)
    yield
    event.remove(engine, "before_cursor_execute", listener)


def test_values_are_what_the_orm_gives(context, alice, listened):
    found = Query(OWNED.order_by(Task.id)).all({"owner_id": alice.id})
    told = db.session.execute(OWNED.order_by(Task.id), {"owner_id": alice.id}).all()
    assert len(found) == 3
    assert [tuple(row) for row in found] == [tuple(row) for row in told]


@pytest.mark.parametrize("titles", [["b"], ["a", "c"], ["a", "b", "c", "d"], []])
def test_a_parameter_may_be_a_list_of_any_length(context, alice, titles, listened):
    found = NAMED.all({"owner_id": alice.id, "titles": titles})
    assert [row[0] for row in found] == [title for title in titles if title in "abc"]


def test_the_first_of_no_rows_is_none(context):
    assert Query(OWNED).first({"owner_id": 0}) is None


def test_a_missing_value_is_an_error_and_not_null(context):
    with pytest.raises(KeyError):
        Query(OWNED).all({})


def test_a_constant_of_the_statement_is_stored_as_its_type_says(context):
    high = Query(select(func.count()).where(Task.priority == "high"))
    assert high.all({}) == [(3,)]


def test_a_transaction_under_way_sees_what_it_wrote_and_nobody_else_does(
    app, context, alice, listened
):
    db.session.execute(insert(Task), [TaskRow(created_by=alice.id)])
    assert COUNT.all({}) == [(4,)]
    with app.app_context():
        assert COUNT.all({}) == [(3,)]
    db.session.rollback()
    assert COUNT.all({}) == [(3,)]


def test_a_snapshot_stays_as_it_was(app, context, alice, listened):
    with snapshot():
        before = COUNT.all({})
        with app.app_context():
            db.session.execute(insert(Task), [TaskRow(created_by=alice.id)])
            db.session.commit()
        assert COUNT.all({}) == before == [(3,)]
    assert COUNT.all({}) == [(4,)]


def test_reading_leaves_no_connection_out_of_the_pool(context, alice, listened):
    for _ in range(2 * db.engine.pool.size()):
        COUNT.all({})
        with pytest.raises(DBAPIError):
            Query(select(text("nothing_of_this_name"))).all({})
    assert db.engine.pool.checkedout() == 0


def test_statements_are_counted_for_the_request_at_hand(context, listened):
    asked = Origin()
    with coming_from(asked):
        COUNT.all({})
        COUNT.first({})
    assert asked.queries == 2


@pytest.mark.parametrize("target", [Engine, None])
@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_who_listens_to_sqlalchemy_is_told_of_each_statement(app, alice, target, moment):
    texts = []

    def listener(conn, cursor, statement, parameters, context, executemany):
        texts.append(statement.split()[0])

    task = alice.task()
    with app.app_context():
        target = target or db.engine
    event.listen(target, moment, listener)
    try:
        assert alice.get(f"/tasks/{task['id']}").json == task
        changed = alice.patch(f"/tasks/{task['id']}", {"title": "Other"})
        alice.task()
    finally:
        event.remove(target, moment, listener)
    assert changed.json["title"] == "Other"
    assert texts == [*["SELECT"] * 2, *["SELECT", "SELECT", "UPDATE"], *["SELECT"] * 2, "INSERT"]
    assert alice.get(f"/tasks/{task['id']}").json == changed.json
    assert len(texts) == 8


def test_the_log_of_sqlalchemy_has_each_statement_without_its_values(alice, caplog):
    task = alice.task("A title of a person's")
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        assert alice.get(f"/tasks/{task['id']}").json == task
    told = [line.getMessage() for line in caplog.records if line.name == "sqlalchemy.engine.Engine"]
    assert sum(line.startswith("SELECT") for line in told) == 2
    assert "A title of a person's" not in caplog.text


def test_what_the_database_refuses_is_raised_as_sqlalchemy_does(context, listened):
    wrong = select(literal(1).label("one")).select_from(text("no_such_table"))
    with pytest.raises(DBAPIError) as told:
        db.session.execute(wrong)
    db.session.rollback()
    with pytest.raises(DBAPIError) as found:
        Query(wrong).all({})
    assert type(found.value) is type(told.value)
    assert type(found.value) in {OperationalError, ProgrammingError}
    assert not found.value.connection_invalidated
    assert COUNT.all({}) == [(3,)]


def test_a_connection_on_which_a_write_failed_shows_what_others_wrote_since(
    app, context, alice, listened
):
    nobodys = TaskRow(created_by=alice.id + 1000)
    pool = db.engine.pool
    for written in range(1, pool.size() + 1):
        with pytest.raises(IntegrityError):
            CREATE.one(nobodys)
        with app.app_context():
            db.session.execute(insert(Task), [TaskRow(created_by=alice.id)])
            db.session.commit()
        assert COUNT.all({}) == [(3 + written,)]


def test_a_value_of_a_person_is_in_no_error(context, listened):
    echo = Query(select(func.no_such_function(bindparam("secret", type_=Integer))))
    with pytest.raises(DBAPIError) as found:
        echo.all({"secret": 424242})
    assert "424242" not in str(found.value)
