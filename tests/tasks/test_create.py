"""Creation of tasks."""

import pytest
from sqlalchemy import func, select

from app.tasks.models import Task

FULL = {
    "title": "Call the bank",
    "description": "# Ask\n\n- for the *rate*",
    "status": "in_progress",
    "priority": "urgent",
    "due_date": None,
    "due_at": "2030-01-31T09:00:00.000000Z",
    "time_zone": "Europe/Zurich",
    "position": "m5",
}


def test_omitted_fields_get_their_defaults(alice, stored):
    task = alice.task("Buy milk")
    assert task == {
        "id": task["id"],
        "title": "Buy milk",
        "description": None,
        "status": "pending",
        "priority": "none",
        "due_date": None,
        "due_at": None,
        "time_zone": None,
        "position": "a0",
        "version": 1,
        "created_by": alice.id,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
        "completed_at": None,
        "deleted_at": None,
        "url": task["url"],
    }
    assert task["created_at"].endswith("Z")
    assert stored(select(Task.id, Task.title, Task.created_by)) == [
        (task["id"], "Buy milk", alice.id)
    ]


def test_given_fields_are_stored(alice):
    task = alice.task(**FULL)
    assert {name: task[name] for name in FULL} == FULL
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_null_equals_omitting_an_optional_field(alice):
    fields = dict.fromkeys(("description", "due_date", "due_at", "time_zone"))
    task = alice.task(**fields)
    assert {name: task[name] for name in fields} == fields


def test_location_returns_the_created_task(app, alice):
    response = alice.post("/tasks", {"title": "Buy milk"})
    location = response.headers["Location"]
    assert location == response.json["url"]
    base = f"{app.config['PUBLIC_URL']}/api/v1"
    assert location == f"{base}/tasks/{response.json['id']}"
    assert alice.get(location.removeprefix(base)).json == response.json


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "cancelled"])
def test_task_created_as_completed_has_completed_at(alice, status):
    task = alice.task(status=status)
    assert task["status"] == status
    assert task["completed_at"] == (task["created_at"] if status == "completed" else None)


def test_title_is_trimmed(alice):
    assert alice.task(" \t\u00a0Buy  milk\u2003\n")["title"] == "Buy  milk"


@pytest.mark.parametrize("character", ["a", "ä", "字", "\N{GRINNING FACE}", "ΐ", "ﬃ"])
def test_max_lengths_count_characters_in_every_script(alice, character):
    fields = {"title": character * 150, "description": character * 20_000}
    task = alice.task(**fields)
    assert alice.get(f"/tasks/{task['id']}").json == task
    assert {name: task[name] for name in fields} == fields


def test_empty_description_is_kept(alice):
    assert alice.task(description="")["description"] == ""


def test_same_request_twice_creates_two_tasks(alice, stored):
    first, second = alice.task(), alice.task()
    assert first["id"] < second["id"]
    assert first["position"] < second["position"]
    assert stored(select(func.count(Task.id))) == [(2,)]
