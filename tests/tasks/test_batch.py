"""Batches: each operation has the result that a request of its own would have."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task


def rows(stored):
    return stored(select(Task.id, Task.title, Task.status, Task.version).order_by(Task.id))


def create(title="New", **fields):
    return {"op": "create", "body": {"title": title, **fields}}


def update(task_id, body, **fields):
    return {"op": "update", "id": task_id, "body": body, **fields}


def delete(task_id, **fields):
    return {"op": "delete", "id": task_id, **fields}


def batch(account, *operations, **fields):
    return account.post("/tasks/batch", {"operations": list(operations), **fields})


@pytest.mark.parametrize("atomic", [True, False])
def test_operations_are_applied_in_order(alice, stored, atomic):
    first, second, third = alice.task("First"), alice.task("Second"), alice.task("Third")
    response = batch(
        alice,
        delete(second["id"]),
        create("Fourth", priority="high"),
        update(first["id"], {"status": "completed"}, version=1),
        create("Fifth"),
        update(third["id"], {}),
        atomic=atomic,
    )
    assert response.status_code == 200
    results = response.json["results"]
    assert [result["status"] for result in results] == [204, 201, 200, 201, 200]
    assert results[0] == {"status": 204}
    fourth, fifth = results[1]["body"], results[3]["body"]
    for task in (fourth, fifth, results[2]["body"], results[4]["body"]):
        assert alice.get(f"/tasks/{task['id']}").json == task
    assert results[2]["body"]["completed_at"] is not None
    assert results[4]["body"] == third
    assert third["position"] < fourth["position"] < fifth["position"]
    assert rows(stored) == [
        (first["id"], "First", "completed", 2),
        (third["id"], "Third", "pending", 1),
        (fourth["id"], "Fourth", "pending", 1),
        (fifth["id"], "Fifth", "pending", 1),
    ]


def test_operations_fail_independently(alice, bob, stored):
    own, foreign = alice.task("Own"), bob.task("Foreign")
    before = rows(stored)
    response = batch(
        alice,
        create("", colour="red"),
        update(own["id"], {"title": "Changed"}, version=7),
        update(foreign["id"], {"title": "Stolen"}),
        delete(10**6),
        create("Made"),
    )
    results = response.json["results"]
    assert [result["status"] for result in results] == [422, 412, 404, 404, 201]
    codes = [result["problem"]["code"] for result in results[:4]]
    assert codes == ["validation_error", "stale_version", "not_found", "not_found"]
    pointers = {error["pointer"] for error in results[0]["problem"]["errors"]}
    assert pointers == {"/title", "/colour"}
    assert rows(stored)[:2] == before
    assert [title for _, title, _, _ in rows(stored)] == ["Own", "Foreign", "Made"]


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (create(""), 422, "validation_error"),
        (delete(10**6), 404, "not_found"),
        (update(1, {"title": "Stale"}, version=9), 412, "stale_version"),
    ],
)
def test_failure_in_atomic_batch_rolls_back_all_operations(alice, stored, bad, status, code):
    task = alice.task("First")
    if bad["op"] == "update":
        bad = {**bad, "id": task["id"]}
    before = rows(stored)
    response = batch(alice, create("Made"), bad, atomic=True)
    assert (response.status_code, response.json["code"], response.json["status"]) == (
        status,
        code,
        status,
    )
    assert response.json["operation"] == 1
    assert rows(stored) == before


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/operations"}),
        ({"operations": []}, {"/operations"}),
        ({"operations": [create()] * 101}, {"/operations"}),
        ({"operations": "all"}, {"/operations"}),
        ({"operations": [7]}, {"/operations/0"}),
        ({"operations": [{"op": "move", "id": 1}]}, {"/operations/0/op"}),
        ({"operations": [{"id": 1}]}, {"/operations/0/op"}),
        ({"operations": [{"op": "update", "body": {}}]}, {"/operations/0/id"}),
        ({"operations": [{"op": "update", "id": 1}]}, {"/operations/0/body"}),
        ({"operations": [{"op": "update", "id": 1, "body": []}]}, {"/operations/0/body"}),
        ({"operations": [{"op": "create", "id": 1, "body": {}}]}, {"/operations/0/id"}),
        ({"operations": [{"op": "delete", "id": 1, "body": {}}]}, {"/operations/0/body"}),
        ({"operations": [delete(True)]}, {"/operations/0/id"}),
        ({"operations": [delete("1")]}, {"/operations/0/id"}),
        ({"operations": [delete(1.0)]}, {"/operations/0/id"}),
        ({"operations": [delete(0)]}, {"/operations/0/id"}),
        ({"operations": [delete(2**63)]}, {"/operations/0/id"}),
        ({"operations": [delete(1, version=0)]}, {"/operations/0/version"}),
        ({"operations": [delete(1, colour=1)]}, {"/operations/0/colour"}),
        ({"operations": [delete(1), update(1, {})]}, {"/operations/1/id"}),
        ({"operations": [create()], "atomic": "true"}, {"/atomic"}),
        ({"operations": [create()], "atomic": 1}, {"/atomic"}),
        ({"operations": [create()], "dry_run": True}, {"/dry_run"}),
    ],
)
def test_malformed_batch_is_rejected_with_pointers(alice, stored, body, pointers):
    alice.task("First")
    before = rows(stored)
    response = alice.post("/tasks/batch", body)
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert {error["pointer"] for error in response.json["errors"]} == pointers
    assert rows(stored) == before


def test_unstorable_text_fails_only_its_operation(alice, stored):
    response = batch(alice, create("a\0b"), create("\ud800"), create("Fine"))
    assert [result["status"] for result in response.json["results"]] == [422, 422, 201]
    assert [title for _, title, _, _ in rows(stored)] == ["Fine"]


@pytest.mark.parametrize("size", [2, 100])
def test_batch_runs_one_statement_per_operation_type(alice, statements, stored, size):
    tasks = [alice.task(f"Task {number}") for number in range(size)]
    update_count = size // 3
    operations = [
        *(create(f"New {number}") for number in range(size - 2 * update_count)),
        *(update(task["id"], {"priority": "high"}) for task in tasks[:update_count]),
        *(delete(task["id"]) for task in tasks[update_count : 2 * update_count]),
    ]
    with statements() as seen:
        response = batch(alice, *operations)
    assert response.status_code == 200
    commands = [statement.split()[0] for statement in seen]
    # One INSERT of tasks, and one of audit events about deletions.
    assert commands.count("INSERT") == 1 + min(update_count, 1)
    assert commands.count("UPDATE") == commands.count("DELETE") == min(update_count, 1)
    assert len(seen) <= 8
    assert len(rows(stored)) == size - update_count + size - 2 * update_count


def test_batch_can_be_retried_with_idempotency_key(alice, stored):
    key = {"Idempotency-Key": "batch-1"}
    body = {"operations": [create("One"), create("Two")]}
    first = alice.post("/tasks/batch", body, headers=key)
    repeated = alice.post("/tasks/batch", body, headers=key)
    assert repeated.data == first.data
    assert repeated.headers["Idempotent-Replayed"] == "true"
    assert [title for _, title, _, _ in rows(stored)] == ["One", "Two"]


def test_failed_atomic_batch_stores_only_its_response(alice, stored):
    key = {"Idempotency-Key": "batch-2"}
    body = {"atomic": True, "operations": [create("One"), delete(10**6)]}
    responses = [alice.post("/tasks/batch", body, headers=key) for _ in range(2)]
    assert [response.status_code for response in responses] == [404, 404]
    assert responses[0].data == responses[1].data
    assert rows(stored) == []
