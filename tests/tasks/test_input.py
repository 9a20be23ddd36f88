"""Invalid requests: each invalid field is reported, and nothing is stored."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import details, pointers

NOT_STRINGS = [7, 1.0, True, False, [], {}, ["x"], {"a": "x"}]
UNSTORABLE = ["a\0b", "\0", "\ud800", "a\udfffb", "\ude00\ud83d"]
NOT_ENUM_VALUES = [None, "", " ", *NOT_STRINGS, *UNSTORABLE]
INVALID = {
    "title": [None, "", "   ", "\t\n\u2003", "x" * 151, *NOT_STRINGS, *UNSTORABLE],
    "description": ["x" * 20_001, *NOT_STRINGS, *UNSTORABLE],
    "status": [
        "done",
        "PENDING",
        "pending ",
        "pending,completed",
        "\u0440ending",
        *NOT_ENUM_VALUES,
    ],
    "priority": ["1", "High", "highest", 0, 4, 5, 2**63, 10**30, *NOT_ENUM_VALUES],
    "due_date": [
        *("", "tomorrow", "2030-02-30", "2030-13-01", "2030-00-10", "2030-1-31", "20300131"),
        *("2030-01-31T00:00:00Z", " 2030-01-31", "2030-01-31\n", "0000-01-01", "10000-01-01"),
        *("\u0662\u0660\u0663\u0660-01-31", "2030-W05-4", "-001-01-01", 1_893_456_000),
        *NOT_STRINGS,
        *UNSTORABLE,
    ],
    "due_at": ["", "now", "2030-01-31", "2030-01-31T09:00:00", *NOT_STRINGS, *UNSTORABLE],
    "time_zone": [
        *("", "CEST", "+01:00", "Europe/Nowhere", "europe/zurich", "Europe/Zurich ", "localtime"),
        *("Factory", "../../etc/passwd", "/etc/localtime", "posix/UTC", "right/UTC", "x" * 5000),
        *NOT_STRINGS,
        *UNSTORABLE,
    ],
    "position": [None, "", "a b", "é", "\u0661", "a0\n", "x" * 256, *NOT_STRINGS, *UNSTORABLE],
}
READ_ONLY = {
    "id": 7,
    "version": 7,
    "created_by": 7,
    "created_at": "2030-01-31T09:00:00Z",
    "updated_at": "2030-01-31T09:00:00Z",
    "completed_at": "2030-01-31T09:00:00Z",
    "deleted_at": None,
    "url": "http://example.com/",
}
UNKNOWN = {
    "owner_id": 7,
    "Title": "x",
    "titel": "x",
    "__class__": "x",
    "title_key": "x",
    "due_key": None,
    "": 1,
}
WRITES = ("POST", "PUT", "PATCH")


@pytest.fixture
def write(alice, stored):
    """Send an invalid body with a method, and assert that nothing was stored."""

    def send(method, body):
        task = alice.task()
        all_rows = select(*Task.__table__.c)
        before = stored(all_rows)
        path = "/tasks" if method == "POST" else f"/tasks/{task['id']}"
        required = {} if method == "PATCH" else {"title": "New", "status": "pending"}
        response = alice.call(method, path, json=required | body)
        assert stored(all_rows) == before
        return response

    return send


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("field", INVALID)
def test_invalid_value_is_rejected_with_pointer(write, method, field):
    for value in INVALID[field]:
        assert pointers(write(method, {field: value})) == {f"/{field}"}, value


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(("field", "value"), UNKNOWN.items())
def test_unknown_field_is_rejected(write, method, field, value):
    assert details(write(method, {field: value})) == {f"/{field}": "Unknown field."}


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(("field", "value"), READ_ONLY.items())
def test_read_only_field_is_rejected(write, method, field, value):
    assert details(write(method, {field: value})) == {f"/{field}": "Read-only field."}


@pytest.mark.parametrize("op", ["create", "update"])
def test_read_only_field_is_rejected_in_a_batch(alice, op):
    operation = {"op": "create", "body": {"title": "New", "version": 7, "titel": "x"}}
    if op == "update":
        operation |= {"op": "update", "id": alice.task()["id"]}
    [result] = alice.post("/tasks/batch", {"operations": [operation]}).json["results"]
    assert {error["pointer"]: error["detail"] for error in result["problem"]["errors"]} == {
        "/version": "Read-only field.",
        "/titel": "Unknown field.",
    }


@pytest.mark.parametrize("value", [None, "2030-01-31T09:00:00Z"])
def test_deleted_at_cannot_be_written(alice, write, value):
    task = alice.task()
    for method in WRITES:
        assert pointers(write(method, {"deleted_at": value})) == {"/deleted_at"}
    operations = [
        {"op": "create", "body": {"title": "New", "deleted_at": value}},
        {"op": "update", "id": task["id"], "body": {"deleted_at": value}},
    ]
    for result in alice.post("/tasks/batch", {"operations": operations}).json["results"]:
        assert result["status"] == 422
        assert [error["pointer"] for error in result["problem"]["errors"]] == ["/deleted_at"]
    assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize(
    ("key", "pointer"),
    [
        ("a/b", "/a~1b"),
        ("a~b", "/a~0b"),
        ("~1", "/~01"),
        ("a\0b", "/a\0b"),
        ("\ud800", "/\\ud800"),
        ("_schema", "/_schema"),
        ("ключ", "/ключ"),
        ('"', '/"'),
    ],
)
def test_unknown_field_is_reported_as_escaped_json_pointer(write, key, pointer):
    assert pointers(write("POST", {key: 1})) == {pointer}


def test_all_errors_are_reported_together(write):
    body = {"title": "", "status": "done", "priority": 1, "due_date": "no", "id": 1, "what": 2}
    response = write("POST", body)
    assert pointers(response) == {f"/{field}" for field in body}
    assert response.json["detail"] == "6 fields are invalid."


def test_title_is_required(alice, stored):
    assert pointers(alice.post("/tasks", {})) == {"/title"}
    assert stored(select(Task.id)) == []
