"""Deleting tasks."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem, parameters


def test_a_deleted_task_is_gone_for_good(alice, stored):
    kept, task = alice.task("Kept"), alice.task("Gone")
    answer = alice.delete(f"/tasks/{task['id']}")
    assert answer.status_code == 204
    assert answer.data == b""
    assert "Content-Type" not in answer.headers
    assert stored(select(Task.id)) == [(kept["id"],)]
    assert alice.get("/tasks").json["data"] == [kept]


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
def test_a_deleted_task_is_not_found_by_any_method(alice, stored, method, path, body):
    task = alice.task()
    alice.delete(f"/tasks/{task['id']}")
    answer = alice.call(method, f"/tasks/{task['id']}{path}", json=body)
    assert_problem(answer, 404, "not_found")
    assert stored(select(Task.id)) == []


def test_an_id_is_never_used_again(alice):
    used = set()
    for _ in range(3):
        task = alice.task()
        assert task["id"] not in used
        used.add(task["id"])
        alice.delete(f"/tasks/{task['id']}")


def test_a_query_is_refused_and_nothing_deleted(alice, stored):
    task = alice.task()
    assert parameters(alice.delete(f"/tasks/{task['id']}?force=true")) == {"force"}
    assert stored(select(Task.id)) == [(task["id"],)]
