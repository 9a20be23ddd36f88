"""Updates: PATCH merges, PUT replaces, derived fields are updated."""

from datetime import UTC, datetime

import pytest
import time_machine
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import pointers
from tests.tasks.test_create import FULL

CHANGES = {
    "title": "Call the other bank",
    "description": "Ask again",
    "status": "cancelled",
    "priority": "low",
    "due_at": "2031-02-01T08:30:00.250000Z",
    "time_zone": "Asia/Kathmandu",
    "position": "m6",
}
DERIVED = ("version", "updated_at", "completed_at")


def without(task, *names):
    return {name: value for name, value in task.items() if name not in {*names, *DERIVED}}


@pytest.mark.parametrize("field", CHANGES)
def test_patch_changes_only_given_fields(alice, field):
    task = alice.task(**FULL)
    changed = alice.patch(f"/tasks/{task['id']}", {field: CHANGES[field]}).json
    assert changed[field] == CHANGES[field]
    assert without(changed, field) == without(task, field)
    assert changed["version"] == 2
    assert changed["updated_at"] > task["updated_at"]
    assert alice.get(f"/tasks/{task['id']}").json == changed


@pytest.mark.parametrize("field", ["description", "due_at", "time_zone"])
def test_patch_with_null_clears_the_field(alice, field):
    task = alice.task(**FULL)
    changed = alice.patch(f"/tasks/{task['id']}", {field: None}).json
    assert changed[field] is None
    assert without(changed, field) == without(task, field)


@pytest.mark.parametrize("field", ["title", "status", "priority", "position"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_required_field_cannot_be_null(alice, method, field):
    task = alice.task(**FULL)
    body = {"title": "New", "status": "pending", field: None}
    assert pointers(alice.call(method, f"/tasks/{task['id']}", json=body)) == {f"/{field}"}
    assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"due_date": "2030-01-31"}, {"due_at": "2030-01-31T09:00:00.000000Z"}),
        ({"due_at": "2030-01-31T09:00:00.000000Z"}, {"due_date": "2030-01-31"}),
    ],
)
def test_setting_one_due_field_clears_the_other(alice, old, new):
    task = alice.task(**old)
    due = {"due_date": None, "due_at": None}
    assert alice.patch(f"/tasks/{task['id']}", new).json.items() >= (due | new).items()
    reverted = {**dict.fromkeys(new), **old}
    assert alice.patch(f"/tasks/{task['id']}", reverted).json.items() >= (due | old).items()


@pytest.mark.parametrize("due", [{"due_date": "2030-01-31"}, {"due_at": "2030-01-31T09:00:00Z"}])
def test_clearing_an_empty_due_field_keeps_the_other(alice, due):
    task = alice.task(**due)
    [other] = {"due_date", "due_at"} - due.keys()
    assert alice.patch(f"/tasks/{task['id']}", {other: None}).json == task


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_due_date_and_due_at_together_are_rejected(alice, stored, method):
    task = alice.task()
    path = "/tasks" if method == "POST" else f"/tasks/{task['id']}"
    body = {"due_date": "2030-01-31", "due_at": "2030-01-31T09:00:00Z"}
    response = alice.call(method, path, json={"title": "New", "status": "pending", **body})
    assert pointers(response) == {"/due_at", "/due_date"}
    assert stored(select(Task.title, Task.due_key)) == [("Buy milk", None)]


def test_put_resets_omitted_fields_to_their_defaults(alice):
    task = alice.task(**FULL)
    replaced = alice.put(f"/tasks/{task['id']}", {"title": "New", "status": "pending"}).json
    defaults = dict.fromkeys(FULL) | {
        "title": "New",
        "status": "pending",
        "priority": "none",
        "position": FULL["position"],
    }
    assert {name: replaced[name] for name in FULL} == defaults
    assert without(replaced, *FULL) == without(task, *FULL)
    assert replaced["version"] == 2
    assert alice.get(f"/tasks/{task['id']}").json == replaced


@pytest.mark.parametrize("missing", ["title", "status"])
def test_put_requires_title_and_status(alice, missing):
    task = alice.task()
    body = {"title": "New", "status": "pending"}
    del body[missing]
    assert pointers(alice.put(f"/tasks/{task['id']}", body)) == {f"/{missing}"}
    assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {}),
        ("PATCH", "", {"title": "  Call the bank ", "priority": "urgent"}),
        ("PATCH", "", {"due_at": "2030-01-31T10:00:00+01:00", "due_date": None}),
        ("PUT", "", FULL),
        ("PUT", "/status", {"status": "in_progress"}),
    ],
)
def test_write_without_changes_keeps_the_version(alice, method, path, body):
    task = alice.task(**FULL)
    response = alice.call(method, f"/tasks/{task['id']}{path}", json=body)
    assert response.status_code == 200
    assert response.json == task
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_each_change_increments_the_version(alice):
    task = alice.task()
    titles = ("Two", "Two", "Three", "Four", "Buy milk")
    changes = [alice.patch(f"/tasks/{task['id']}", {"title": title}).json for title in titles]
    assert [changed["version"] for changed in changes] == [2, 2, 3, 4, 5]


STATUS_REQUESTS = {
    "PATCH": ("", {}),
    "PUT": ("", {"title": "Buy milk"}),
    "STATUS": ("/status", {}),
}


@pytest.mark.parametrize("request_type", STATUS_REQUESTS)
def test_completed_at_follows_the_status(accounts, request_type):
    path, body = STATUS_REQUESTS[request_type]
    method = "PUT" if request_type == "STATUS" else request_type
    with time_machine.travel(datetime(2030, 1, 1, 12, tzinfo=UTC), tick=False) as clock:
        alice = accounts.make("alice")
        task = alice.task()
        results = []
        for status in ("completed", "completed", "cancelled", "completed", "in_progress"):
            clock.shift(60)
            payload = body | {"status": status}
            response = alice.call(method, f"/tasks/{task['id']}{path}", json=payload)
            results.append((response.json["status"], response.json["completed_at"]))
    assert results == [
        ("completed", "2030-01-01T12:01:00.000000Z"),
        ("completed", "2030-01-01T12:01:00.000000Z"),
        ("cancelled", None),
        ("completed", "2030-01-01T12:04:00.000000Z"),
        ("in_progress", None),
    ]


def test_status_endpoint_changes_only_the_status(alice):
    task = alice.task(**FULL)
    changed = alice.put(f"/tasks/{task['id']}/status", {"status": "pending"}).json
    assert changed["status"] == "pending"
    assert without(changed, "status") == without(task, "status")
    assert changed["version"] == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/status"),
        ({"status": None}, "/status"),
        ({"status": "done"}, "/status"),
        ({"status": "pending", "title": "New"}, "/title"),
    ],
)
def test_status_endpoint_accepts_only_a_status(alice, body, pointer):
    task = alice.task(**FULL)
    assert pointers(alice.put(f"/tasks/{task['id']}/status", body)) == {pointer}
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_list_order_follows_changed_title_and_due(alice):
    first, second = alice.task("b", due_date="2030-01-02"), alice.task("c", due_date="2030-01-03")
    alice.patch(f"/tasks/{first['id']}", {"title": "D", "due_at": "2030-01-04T00:00:00Z"})
    for sort in ("title", "due"):
        listed = alice.get(f"/tasks?sort={sort}").json["data"]
        assert [task["id"] for task in listed] == [second["id"], first["id"]]
