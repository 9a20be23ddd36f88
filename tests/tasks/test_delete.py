"""Deletion of tasks."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem, parameters


def test_deleted_task_is_removed_from_database(alice, stored):
    other, task = alice.task("Other"), alice.task("Deleted")
    response = alice.delete(f"/tasks/{task['id']}")
    assert response.status_code == 204
    assert response.data == b""
    assert "Content-Type" not in response.headers
    assert stored(select(Task.id)) == [(other["id"],)]
    assert alice.get("/tasks").json["data"] == [other]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PUT", "", {"title": "New", "status": "pending"}),
        ("PATCH", "", {"title": "New"}),
        ("PUT", "/status", {"status": "completed"}),
        ("DELETE", "", None),
    ],
)
def test_deleted_task_is_not_found(alice, stored, method, path, body):
    task = alice.task()
    alice.delete(f"/tasks/{task['id']}")
    response = alice.call(method, f"/tasks/{task['id']}{path}", json=body)
    assert_problem(response, 404, "not_found")
    assert stored(select(Task.id)) == []


def test_ids_are_not_reused(alice):
    used = set()
    for _ in range(3):
        task = alice.task()
        assert task["id"] not in used
        used.add(task["id"])
        alice.delete(f"/tasks/{task['id']}")


def test_unknown_query_parameter_prevents_deletion(alice, stored):
    task = alice.task()
    assert parameters(alice.delete(f"/tasks/{task['id']}?force=true")) == {"force"}
    assert stored(select(Task.id)) == [(task["id"],)]
