"""Who may do what: one's own tasks are one's own; administrators reach any by its id."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem

METHODS = [
    ("GET", "", None),
    ("PUT", "", {"title": "Taken", "status": "completed"}),
    ("PATCH", "", {"title": "Taken"}),
    ("PATCH", "", {}),
    ("PUT", "/status", {"status": "completed"}),
    ("DELETE", "", None),
]
BAD_BODIES = [
    ("PUT", "", {"title": ""}),
    ("PATCH", "", {"created_by": 1}),
    ("PUT", "/status", {"status": "stolen"}),
]
UNKNOWN = 2**62


def told(answer):
    """What an answer tells that might betray a row."""
    headers = dict(answer.headers)
    del headers["X-Request-ID"], headers["Content-Length"]
    body = {k: v for k, v in answer.json.items() if k not in {"instance", "request_id"}}
    return answer.status_code, headers, body


@pytest.mark.parametrize(("method", "path", "body"), METHODS + BAD_BODIES)
def test_anothers_task_answers_as_one_that_never_was(alice, bob, stored, method, path, body):
    task = alice.task()
    everything = select(*Task.__table__.c)
    before = stored(everything)
    foreign = bob.call(method, f"/tasks/{task['id']}{path}", json=body)
    unknown = bob.call(method, f"/tasks/{UNKNOWN}{path}", json=body)
    assert told(foreign) == told(unknown)
    if (method, path, body) in METHODS:
        assert_problem(foreign, 404, "not_found")
    assert stored(everything) == before


def test_head_of_anothers_task_is_not_found(alice, bob):
    task = alice.task()
    answer = bob.call("HEAD", f"/tasks/{task['id']}")
    assert answer.status_code == 404
    assert answer.data == b""


def test_each_sees_only_its_own_tasks_in_lists(alice, bob, admin):
    task, others = alice.task("Alice's"), bob.task("Bob's")
    assert alice.get("/tasks").json["data"] == [task]
    assert bob.get("/tasks").json["data"] == [others]
    assert admin.get("/tasks").json["data"] == []


def test_an_administrator_lists_anothers_tasks_by_owner(alice, bob, admin):
    task = alice.task()
    bob.task()
    assert admin.get(f"/tasks?owner_id={alice.id}").json["data"] == [task]
    assert admin.get(f"/tasks?owner_id={UNKNOWN}").json["data"] == []


def test_to_others_an_owner_is_as_one_without_tasks(alice, bob):
    task = alice.task()
    theirs = bob.get(f"/tasks?owner_id={alice.id}")
    nobodys = bob.get(f"/tasks?owner_id={UNKNOWN}")
    assert theirs.json == nobodys.json == {"data": [], "next_cursor": None}
    assert alice.get(f"/tasks?owner_id={alice.id}").json["data"] == [task]


def test_an_administrator_reads_changes_and_deletes_any_task(alice, admin, stored):
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


def test_one_users_lists_and_places_do_not_move_when_another_adds(alice, bob):
    alice.task("First")
    before = alice.get("/tasks").json
    for _ in range(5):
        bob.task("First", due_date="2020-01-01")
    assert alice.get("/tasks").json == before
    assert alice.task("Second")["position"] == "a1"


@pytest.mark.parametrize(
    ("method", "path", "sent"),
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
def test_permission_is_decided_before_anything_of_the_request_is_judged(
    alice, bob, method, path, sent
):
    task = bob.task("Bob's")
    for task_id in (task["id"], 10**6):
        answer = alice.call(method, f"/tasks/{task_id}{path}", **sent)
        assert_problem(answer, 404, "not_found")
    assert bob.call(method, f"/tasks/{task['id']}{path}", **sent).status_code in {
        400,
        406,
        415,
        422,
    }
    assert bob.get(f"/tasks/{task['id']}").json == task
