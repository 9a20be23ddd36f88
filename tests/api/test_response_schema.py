"""``ResponseSchema.dump`` gives what marshmallow's own ``dump`` gives, for rows and for models."""

import json
from datetime import UTC

import hypothesis
import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from marshmallow import Schema
from sqlalchemy import select

from app.auth.models import USER_COLUMNS, User
from app.auth.schemas import UserSchema
from app.clock import now
from app.db.compiled import CompiledSelect
from app.extensions import db
from app.tasks.models import TASK_COLUMNS, Priority, Status, Task, build_task_values
from app.tasks.schemas import TaskSchema
from app.tasks.services import INSERT


def as_json(data):
    return json.loads(orjson.dumps(data, option=orjson.OPT_UTC_Z))


def assert_same_dump(schema, columns, model, row_id):
    """Assert that a stored object is dumped alike as model and as row, and return the dump."""
    db.session.expunge_all()
    instance = db.session.get_one(model, row_id)
    row = CompiledSelect(select(*columns).where(model.id == row_id), json_ready=True).first({})
    expected = as_json(Schema.dump(schema, instance))
    for dumped in (schema.dump(instance), schema.dump(row)):
        assert as_json(dumped) == expected
        assert [*dumped] == [*schema.fields]
    return expected


@pytest.mark.parametrize("role", ["user", "admin"])
def test_user_is_dumped_alike_as_model_and_row(app, accounts, role):
    account = accounts.make("alice", admin=role == "admin")
    with app.test_request_context():
        dumped = assert_same_dump(UserSchema(), USER_COLUMNS, User, account.id)
    assert dumped["role"] == role
    assert account.get("/auth/me").json == dumped


STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
DATETIMES = st.datetimes(timezones=st.just(UTC))
DUES = st.one_of(
    st.fixed_dictionaries({"due_date": st.none(), "due_at": st.none() | DATETIMES}),
    st.fixed_dictionaries({"due_date": st.dates(), "due_at": st.none()}),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    moment=DATETIMES,
    due=DUES,
    data=st.fixed_dictionaries(
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
def test_any_task_is_dumped_alike_as_values_model_and_row(app, alice, moment, due, data):
    schema = TaskSchema()
    with app.test_request_context():
        values = build_task_values(moment, owner_zone="UTC", created_by=alice.id, **data, **due)
        values["id"] = INSERT.execute(values)
        created = as_json(schema.dump(values))
        stored = assert_same_dump(schema, TASK_COLUMNS, Task, values["id"])
    assert created == stored
    assert {name: stored[name] for name in data} == data


def test_several_rows_are_dumped_like_each(app, alice):
    for number in range(3):
        alice.task(f"{number}")
    schema = TaskSchema()
    with app.test_request_context():
        rows = CompiledSelect(select(*TASK_COLUMNS).order_by(Task.id), json_ready=True).all({})
        assert schema.dump(rows, many=True) == [schema.dump(row) for row in rows]
    assert len(rows) == 3


def test_columns_are_those_of_the_schema(app, alice):
    names = {column.key for column in TASK_COLUMNS}
    assert names == TaskSchema().fields.keys() - {"deleted_at", "url"}
    assert {column.key for column in USER_COLUMNS} == UserSchema().fields.keys()
    assert alice.task().keys() == TaskSchema().fields.keys()


def test_datetimes_end_with_z():
    assert as_json({"now": now()})["now"].endswith("Z")
