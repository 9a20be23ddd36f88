"""Creating tasks."""

import pytest
from sqlalchemy import func, select

from app.tasks.models import Task

FULL = {
    "title": "Call the bank",
    "description": "# Ask\n\n- for the *rate*",
    "status": "in_progress",
    "priority": "urgent",
    "due_date": None,
    "due_at": "2030-01-31T09:00:00Z",
    "time_zone": "Europe/Zurich",
    "position": "m5",
}


def test_a_task_of_a_title_alone_takes_every_default(alice, stored):
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


def test_all_that_is_said_is_kept(alice):
    task = alice.task(**FULL)
    assert {name: task[name] for name in FULL} == FULL
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_null_for_an_optional_field_is_as_if_it_were_absent(alice):
    fields = dict.fromkeys(("description", "due_date", "due_at", "time_zone"))
    task = alice.task(**fields)
    assert {name: task[name] for name in fields} == fields


def test_location_is_the_address_of_the_same_representation(app, alice):
    answer = alice.post("/tasks", {"title": "Buy milk"})
    location = answer.headers["Location"]
    assert location == answer.json["url"]
    base = f"{app.config['PUBLIC_URL']}/api/v1"
    assert location == f"{base}/tasks/{answer.json['id']}"
    assert alice.get(location.removeprefix(base)).json == answer.json


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "cancelled"])
def test_a_task_that_begins_completed_was_completed_when_it_was_created(alice, status):
    task = alice.task(status=status)
    assert task["status"] == status
    assert task["completed_at"] == (task["created_at"] if status == "completed" else None)


def test_a_title_is_trimmed(alice):
    assert alice.task(" \t\u00a0Buy  milk\u2003\n")["title"] == "Buy  milk"


@pytest.mark.parametrize("character", ["a", "ä", "字", "\N{GRINNING FACE}", "ΐ", "ﬃ"])
def test_the_longest_title_and_description_fit_in_every_script(alice, character):
    fields = {"title": character * 150, "description": character * 20_000}
    task = alice.task(**fields)
    assert alice.get(f"/tasks/{task['id']}").json == task
    assert {name: task[name] for name in fields} == fields


def test_an_empty_description_stays_empty(alice):
    assert alice.task(description="")["description"] == ""


def test_the_same_body_twice_makes_two_tasks(alice, stored):
    first, second = alice.task(), alice.task()
    assert first["id"] < second["id"]
    assert first["position"] < second["position"]
    assert stored(select(func.count(Task.id))) == [(2,)]
