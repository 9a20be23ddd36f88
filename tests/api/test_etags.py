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


def test_etag_of_a_task_is_its_version(alice):
    created = alice.post("/tasks", {"title": "Buy milk"})
    task = created.json
    read = alice.get(f"/tasks/{task['id']}")
    patched = alice.patch(f"/tasks/{task['id']}", {"title": "Buy bread"})
    completed = alice.put(f"/tasks/{task['id']}/status", {"status": "completed"})
    tags = [response.headers["ETag"] for response in (created, read, patched, completed)]
    assert tags == ['"1"', '"1"', '"2"', '"3"']
    assert [response.json["version"] for response in (created, read, patched, completed)] == [
        1,
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("header", ['"2"', '"11"', "1", ""])
def test_other_if_none_match_gets_200(alice, header):
    task = alice.task()
    response = alice.get(f"/tasks/{task['id']}", headers={"If-None-Match": header})
    assert (response.status_code, response.json) == (200, task)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize("header", ['"1"', "*", ' "9" , "1"', '"1",', ', "1"'])
def test_matching_if_match_allows_the_write(alice, stored, method, path, body, header):
    task = alice.task()
    response = alice.call(
        method, f"/tasks/{task['id']}{path}", json=body, headers={"If-Match": header}
    )
    assert response.status_code in {200, 204}
    assert row(stored, task) in ([], [("New", "pending", 2)], [("Buy milk", "completed", 2)])


@pytest.mark.parametrize("header", ["", "1", '"1', "1, 2", ",", '*, "1"', "W/1"])
def test_malformed_if_match_is_rejected(alice, stored, header):
    task = alice.task()
    response = alice.patch(f"/tasks/{task['id']}", {"title": "New"}, headers={"If-Match": header})
    assert (response.status_code, response.json["code"]) == (400, "bad_request")
    assert row(stored, task) == [("Buy milk", "pending", 1)]


def test_permission_precedes_version(alice, bob, stored):
    task = alice.task()
    response = bob.delete(f"/tasks/{task['id']}", headers={"If-Match": '"7"'})
    assert response.json["code"] == "not_found"
    assert row(stored, task) == [("Buy milk", "pending", 1)]


def test_unchanged_list_is_304_and_changed_list_is_200(alice):
    alice.task()
    first = alice.get("/tasks")
    condition = {"If-None-Match": first.headers["ETag"]}
    again = alice.get("/tasks", headers=condition)
    assert (again.status_code, again.data, again.headers["ETag"]) == (
        304,
        b"",
        first.headers["ETag"],
    )
    alice.task("Buy bread")
    changed = alice.get("/tasks", headers=condition)
    assert [task["title"] for task in changed.json["data"]] == ["Buy bread", "Buy milk"]
    assert changed.headers["ETag"] != first.headers["ETag"]
