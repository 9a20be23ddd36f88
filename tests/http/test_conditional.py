"""Conditional requests on a versioned resource, and on lists."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task

WRITES = [
    ("PATCH", "", {"title": "New"}),
    ("PUT", "", {"title": "New", "status": "pending"}),
    ("PUT", "/status", {"status": "completed"}),
    ("DELETE", "", None),
]


def row(stored, task):
    return stored(select(Task.title, Task.status, Task.version).where(Task.id == task["id"]))


def test_the_entity_tag_is_the_version_on_every_answer_of_one_task(alice):
    created = alice.post("/tasks", {"title": "Buy milk"})
    task = created.json
    read = alice.get(f"/tasks/{task['id']}")
    patched = alice.patch(f"/tasks/{task['id']}", {"title": "Buy bread"})
    completed = alice.put(f"/tasks/{task['id']}/status", {"status": "completed"})
    tags = [answer.headers["ETag"] for answer in (created, read, patched, completed)]
    assert tags == ['"1"', '"1"', '"2"', '"3"']
    assert [answer.json["version"] for answer in (created, read, patched, completed)] == [
        1,
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("held", ['"2"', '"11"', "1", ""])
def test_a_client_that_has_another_version_is_answered_in_full(alice, held):
    task = alice.task()
    answer = alice.get(f"/tasks/{task['id']}", headers={"If-None-Match": held})
    assert (answer.status_code, answer.json) == (200, task)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("held", ['"1"', "*", ' "9" , "1"', '"1",', ', "1"'])
def test_a_write_on_the_current_version_goes_through(alice, stored, method, path, body, held):
    task = alice.task()
    answer = alice.call(method, f"/tasks/{task['id']}{path}", json=body, headers={"If-Match": held})
    assert answer.status_code in {200, 204}
    assert row(stored, task) in ([], [("New", "pending", 2)], [("Buy milk", "completed", 2)])


@pytest.mark.parametrize("header", ["", "1", '"1', "1, 2", ",", '*, "1"', "W/1"])
def test_a_malformed_if_match_is_a_bad_request_and_changes_nothing(alice, stored, header):
    task = alice.task()
    answer = alice.patch(f"/tasks/{task['id']}", {"title": "New"}, headers={"If-Match": header})
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert row(stored, task) == [("Buy milk", "pending", 1)]


def test_permission_is_decided_before_the_version(alice, bob, stored):
    task = alice.task()
    answer = bob.delete(f"/tasks/{task['id']}", headers={"If-Match": '"7"'})
    assert answer.json["code"] == "not_found"
    assert row(stored, task) == [("Buy milk", "pending", 1)]


def test_an_unchanged_list_is_answered_304_and_a_changed_one_in_full(alice):
    alice.task()
    first = alice.get("/tasks")
    held = {"If-None-Match": first.headers["ETag"]}
    again = alice.get("/tasks", headers=held)
    assert (again.status_code, again.data, again.headers["ETag"]) == (
        304,
        b"",
        first.headers["ETag"],
    )
    alice.task("Buy bread")
    changed = alice.get("/tasks", headers=held)
    assert [task["title"] for task in changed.json["data"]] == ["Buy bread", "Buy milk"]
    assert changed.headers["ETag"] != first.headers["ETag"]
