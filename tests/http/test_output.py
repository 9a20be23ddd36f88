"""The quick ways to an answer, by row and by object, say what the schema says."""

import json
from datetime import UTC

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.auth.models import Session, User
from app.auth.schemas import SESSION, USER
from app.clock import now
from app.extensions import db
from app.statements import Query
from app.tasks.models import Priority, Status, Task, task_values
from app.tasks.schemas import TASK
from app.tasks.services import CREATE


def as_json(data):
    return json.loads(orjson.dumps(data, option=orjson.OPT_UTC_Z))


def assert_alike(schema, model, row_id):
    """Assert that one stored object is told alike in each way, and return what is told."""
    db.session.expunge_all()
    stored = db.session.get_one(model, row_id)
    asked = select(*schema.columns).where(model.id == row_id)
    dumped = schema.dump(stored)
    ways = (
        schema.from_model(stored),
        schema.from_row(db.session.execute(asked).one()),
        schema.from_row(Query(asked, shown=True).first({})),
    )
    for told in ways:
        assert as_json(told) == as_json(dumped)
        assert [*told] == [*dumped]
    return dumped


@pytest.mark.parametrize("role", ["user", "admin"])
def test_an_account_is_told_alike_in_each_way(app, accounts, role):
    account = accounts.make("alice", admin=role == "admin")
    with app.test_request_context():
        told = assert_alike(USER, User, account.id)
    assert told["role"] == role
    assert told.keys() == USER.fields.keys()
    assert account.get("/auth/me").json == told


def test_a_session_is_told_alike_in_each_way(app, alice):
    with app.test_request_context():
        told = assert_alike(SESSION, Session, db.session.scalar(select(Session.id)))
    assert told.keys() == SESSION.fields.keys() - {"current"}
    assert alice.get("/auth/sessions").json["data"] == [told | {"current": True}]


STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
INSTANTS = st.datetimes(timezones=st.just(UTC))
DUES = st.one_of(
    st.fixed_dictionaries({"due_date": st.none(), "due_at": st.none() | INSTANTS}),
    st.fixed_dictionaries({"due_date": st.dates(), "due_at": st.none()}),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moment=INSTANTS,
    due=DUES,
    said=st.fixed_dictionaries(
        {
            "title": st.text(STORABLE, min_size=1, max_size=150),
            "description": st.none() | st.text(STORABLE, max_size=500),
            "status": st.sampled_from([status.value for status in Status]),
            "priority": st.sampled_from([priority.name for priority in Priority]),
            "time_zone": st.none() | st.sampled_from(["UTC", "Europe/Zurich"]),
            "position": st.text("0aZz", min_size=1, max_size=100),
        }
    ),
)
def test_any_task_is_told_alike_in_each_way(app, alice, moment, due, said):
    with app.test_request_context():
        values = task_values(moment, owner_zone="UTC", created_by=alice.id, **said, **due)
        values["id"] = CREATE.one(values)
        fresh = [as_json(TASK.from_values(values)), as_json(TASK.from_model(Task(**values)))]
        told = assert_alike(TASK, Task, values["id"])
    assert fresh == [told, told]
    assert [*told] == [*TASK.fields]
    assert {name: told[name] for name in said} == said


def test_rows_are_told_alike_together_and_whatever_follows_their_columns(app, alice):
    for number in range(3):
        alice.task(f"{number}")
    with app.test_request_context():
        found = db.session.execute(select(*TASK.columns, Task.title_key).order_by(Task.id)).all()
        told = TASK.from_rows(found)
        stored = db.session.scalars(select(Task).order_by(Task.id)).all()
        assert as_json(told) == as_json(TASK.dump(stored, many=True))
        assert told == [TASK.from_row(values) for values in found]
    assert {tuple(row) for row in told} == {tuple(TASK.fields)}


def test_an_answer_holds_no_more_than_its_schema(app, alice):
    with app.test_request_context():
        names = {column.key for column in TASK.columns}
        assert names == TASK.fields.keys() - {"deleted_at", "url"}
        assert not {"password_hash", "email_key"} & {column.key for column in USER.columns}
    assert alice.task().keys() == TASK.fields.keys()


def test_the_present_is_told_with_its_offset(app):
    with app.test_request_context():
        assert as_json({"now": now()})["now"].endswith("Z")
