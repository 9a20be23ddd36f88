"""Permissions: users can access their own tasks, administrators any task."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem

UNKNOWN = 2**62


def test_list_contains_own_tasks_only(alice, bob, admin):
    task, others = alice.task("Alice's"), bob.task("Bob's")
    assert alice.get("/tasks").json["data"] == [task]
    assert bob.get("/tasks").json["data"] == [others]
    assert admin.get("/tasks").json["data"] == []


def test_administrator_lists_tasks_by_owner(alice, bob, admin):
    task = alice.task()
    bob.task()
    assert admin.get(f"/tasks?owner_id={alice.id}").json["data"] == [task]
    assert admin.get(f"/tasks?owner_id={UNKNOWN}").json["data"] == []


def test_administrator_reads_changes_and_deletes_any_task(alice, admin, stored):
    task = alice.task()
    path = f"/tasks/{task['id']}"
    assert admin.get(path).json == task
    assert admin.patch(path, {"priority": "high"}).json["priority"] == "high"
    assert admin.put(f"{path}/status", {"status": "completed"}).json["status"] == "completed"
    replaced = admin.put(path, {"title": "Replaced", "status": "pending"}).json
    assert replaced["created_by"] == alice.id
    assert alice.get(path).json == replaced
    assert admin.delete(path).status_code == 204
    assert stored(select(Task.id)) == []


@pytest.mark.parametrize(
    ("method", "path", "request_args"),
    [
        ("PATCH", "", {"json": {"colour": "red"}}),
        ("PATCH", "", {"data": "{", "content_type": "application/json"}),
        ("PUT", "", {"data": "x", "content_type": "text/plain"}),
        ("PUT", "/status", {"json": []}),
        ("PATCH", "", {"json": {"title": "x"}, "headers": {"If-Match": "1"}}),
        ("GET", "", {"query_string": {"x": "1"}}),
        ("DELETE", "", {"headers": {"Accept": "text/html"}}),
    ],
)
def test_permission_is_checked_before_the_request_is_validated(
    alice, bob, method, path, request_args
):
    task = bob.task("Bob's")
    for task_id in (task["id"], 10**6):
        response = alice.call(method, f"/tasks/{task_id}{path}", **request_args)
        assert_problem(response, 404, "not_found")
    assert bob.call(method, f"/tasks/{task['id']}{path}", **request_args).status_code in {
        400,
        406,
        415,
        422,
    }
    assert bob.get(f"/tasks/{task['id']}").json == task
