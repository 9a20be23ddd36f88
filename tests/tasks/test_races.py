"""Concurrent requests: no update is lost, and no response is a 5xx."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.auth.models import User
from app.tasks import services
from app.tasks.models import Task
from tests.problems import assert_problem

REQUEST_COUNT = 20
CHANGES = {
    "title": "Changed",
    "description": "Changed",
    "status": "in_progress",
    "priority": "urgent",
    "due_date": "2030-01-31",
    "time_zone": "Europe/Zurich",
    "position": "m",
}


def statuses(responses):
    return Counter(response.status_code for response in responses)


def test_concurrent_changes_of_different_fields_are_all_applied(alice, run_parallel):
    paths = [f"/tasks/{alice.task()['id']}" for _ in range(3)]
    requests = [("PATCH", path, {name: CHANGES[name]}) for name in CHANGES for path in paths]
    responses = run_parallel(alice, requests)
    assert statuses(responses) == {200: len(requests)}
    for path in paths:
        task = alice.get(path).json
        assert {name: task[name] for name in CHANGES} == CHANGES
        assert task["version"] == 1 + len(CHANGES)


def test_concurrent_changes_of_one_field_create_one_version_each(alice, run_parallel):
    path = f"/tasks/{alice.task()['id']}"
    responses = run_parallel(
        alice, [("PATCH", path, {"title": f"By {n}"}) for n in range(REQUEST_COUNT)]
    )
    assert statuses(responses) == {200: REQUEST_COUNT}
    by_version = {response.json["version"]: response.json for response in responses}
    assert sorted(by_version) == list(range(2, REQUEST_COUNT + 2))
    assert alice.get(path).json == by_version[REQUEST_COUNT + 1]


@pytest.fixture
def interrupt(monkeypatch):
    """Run a function once, between the reading of a task and its update."""
    compute_changes = services.compute_changes

    def run_before_update(function):
        def interrupted(*args, **kwargs):
            monkeypatch.setattr(services, "compute_changes", compute_changes)
            with ThreadPoolExecutor(1) as threads:
                threads.submit(function).result()
            return compute_changes(*args, **kwargs)

        monkeypatch.setattr(services, "compute_changes", interrupted)

    return run_before_update


def test_change_is_recomputed_after_a_concurrent_change(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.patch(path, {"title": "Bread", "due_date": "2030-01-31"}))
    changed = alice.patch(path, {"due_at": "2031-01-31T09:00:00Z"}).json
    assert changed["version"] == 3
    assert (changed["title"], changed["due_date"]) == ("Bread", None)
    assert alice.get(path).json == changed


def test_if_match_fails_after_a_concurrent_change(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.patch(path, {"title": "Bread"}))
    stale = alice.patch(path, {"title": "Cake"}, headers={"If-Match": '"1"'})
    assert_problem(stale, 412, "stale_version")
    assert alice.get(path).json["title"] == "Bread"


def test_change_of_concurrently_deleted_task_is_not_found(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.delete(path))
    assert_problem(alice.patch(path, {"title": "Cake"}), 404, "not_found")


def test_concurrent_completions_create_one_version(alice, run_parallel):
    path = f"/tasks/{alice.task()['id']}"
    responses = run_parallel(
        alice, [("PUT", f"{path}/status", {"status": "completed"})] * REQUEST_COUNT
    )
    assert statuses(responses) == {200: REQUEST_COUNT}
    assert {response.json["version"] for response in responses} == {2}
    assert len({response.json["completed_at"] for response in responses}) == 1


def test_concurrent_creations_are_all_stored(alice, run_parallel, stored):
    responses = run_parallel(
        alice, [("POST", "/tasks", {"title": f"By {n}"}) for n in range(REQUEST_COUNT)]
    )
    assert statuses(responses) == {201: REQUEST_COUNT}
    assert len({response.json["id"] for response in responses}) == REQUEST_COUNT
    assert stored(select(func.count(Task.id))) == [(REQUEST_COUNT,)]


def test_user_deletion_races_changes_of_its_tasks(accounts, run_parallel, stored):
    for number in range(5):
        account = accounts.make(f"leaving{number}")
        ids = [account.task("Milk")["id"] for _ in range(3)]
        changes = [("PATCH", f"/tasks/{task_id}", {"title": "New"}) for task_id in ids]
        requests = [("DELETE", "/auth/me", None), *changes, ("POST", "/tasks", {"title": "Late"})]
        deletion, *responses = run_parallel(account, requests)
        assert deletion.status_code == 204
        assert {response.status_code for response in responses} <= {200, 201, 401}
        for remaining in (User.id, Task.id):
            assert stored(select(remaining)) == []


def test_concurrent_batches_do_not_deadlock(admin, alice, bob, run_parallel):
    tasks_of_alice = [alice.task("Milk")["id"] for _ in range(10)]
    tasks_of_bob = [bob.task("Bread")["id"] for _ in range(10)]
    for number in range(8):
        forwards = [
            {"op": "update", "id": task_id, "body": {"title": f"{number}"}}
            for pair in zip(tasks_of_alice, tasks_of_bob, strict=True)
            for task_id in pair
        ]
        backwards = [
            {"op": "update", "id": task_id, "body": {"description": f"{number}"}}
            for pair in zip(tasks_of_bob[5:], tasks_of_alice[5:], strict=True)
            for task_id in pair
        ]
        batches = (forwards[:10], backwards)
        requests = [("POST", "/tasks/batch", {"operations": batch}) for batch in batches]
        for response in run_parallel(admin, requests):
            assert response.status_code == 200, response.text
            assert {result["status"] for result in response.json["results"]} == {200}
