"""Number of SQL statements of each task endpoint."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task


def test_reading_a_task_runs_two_statements(alice, statements):
    task = alice.task()
    with statements() as seen:
        response = alice.get(f"/tasks/{task['id']}")
    assert response.json == task
    assert len(seen) == 2
    assert "FROM sessions JOIN users" in seen[0]
    assert "FROM tasks" in seen[1]


@pytest.mark.parametrize("sort", ["created_at", "-due", "due", "-title"])
def test_list_runs_two_statements(alice, statements, sort):
    for number in range(7):
        alice.task(f"Task {number}", due_date="2030-01-01" if number % 2 else None)
    for limit, count in ((1, 1), (5, 5), (200, 7)):
        with statements() as seen:
            response = alice.get("/tasks", query_string={"sort": sort, "limit": limit})
        assert len(response.json["data"]) == count
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "count"),
    [
        ("POST", "/tasks", {"title": "New"}, 3),
        ("PUT", "/tasks/{id}", {"title": "New", "status": "pending"}, 3),
        ("PATCH", "/tasks/{id}", {"title": "New"}, 3),
        ("PUT", "/tasks/{id}/status", {"status": "completed"}, 3),
        ("DELETE", "/tasks/{id}", None, 4),
    ],
)
def test_statement_count_of_writes(alice, statements, stored, method, path, body, count):
    task = alice.task()
    with statements() as seen:
        response = alice.call(method, path.format(id=task["id"]), json=body)
    assert response.status_code in {200, 201, 204}
    assert len(seen) == count
    titles = [title for (title,) in stored(select(Task.title).order_by(Task.id))]
    assert titles == {"POST": ["Buy milk", "New"], "DELETE": []}.get(
        method, ["Buy milk" if path.endswith("status") else "New"]
    )
