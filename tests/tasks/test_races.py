"""Concurrent requests: nothing is lost, and there is no 5xx."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.auth.models import User
from app.tasks import services
from app.tasks.models import Task
from tests.problems import assert_problem

CROWD = 20
CHANGES = {
    "title": "Changed",
    "description": "Changed",
    "status": "in_progress",
    "priority": "urgent",
    "due_date": "2030-01-31",
    "time_zone": "Europe/Zurich",
    "position": "m",
}


def statuses(answers):
    return Counter(answer.status_code for answer in answers)


def test_parallel_changes_of_different_fields_all_survive(alice, run_parallel):
    paths = [f"/tasks/{alice.task()['id']}" for _ in range(3)]
    requests = [("PATCH", path, {name: CHANGES[name]}) for name in CHANGES for path in paths]
    answers = run_parallel(alice, requests)
    assert statuses(answers) == {200: len(requests)}
    for path in paths:
        task = alice.get(path).json
        assert {name: task[name] for name in CHANGES} == CHANGES
        assert task["version"] == 1 + len(CHANGES)


def test_parallel_changes_of_one_field_each_make_one_version(alice, run_parallel):
    path = f"/tasks/{alice.task()['id']}"
    answers = run_parallel(alice, [("PATCH", path, {"title": f"By {n}"}) for n in range(CROWD)])
    assert statuses(answers) == {200: CROWD}
    by_version = {answer.json["version"]: answer.json for answer in answers}
    assert sorted(by_version) == list(range(2, CROWD + 2))
    assert alice.get(path).json == by_version[CROWD + 1]


@pytest.fixture
def interrupt(monkeypatch):
    """Has an act come, once, between the look at a task and its change."""
    judge = services.compute_changes

    def between(act):
        def interrupted(*args, **kwargs):
            monkeypatch.setattr(services, "compute_changes", judge)
            with ThreadPoolExecutor(1) as threads:
                threads.submit(act).result()
            return judge(*args, **kwargs)

        monkeypatch.setattr(services, "compute_changes", interrupted)

    return between


def test_a_change_that_another_came_before_is_judged_anew(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.patch(path, {"title": "Bread", "due_date": "2030-01-31"}))
    changed = alice.patch(path, {"due_at": "2031-01-31T09:00:00Z"}).json
    assert changed["version"] == 3
    assert (changed["title"], changed["due_date"]) == ("Bread", None)
    assert alice.get(path).json == changed


def test_a_change_of_a_version_that_another_came_before_is_refused(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.patch(path, {"title": "Bread"}))
    stale = alice.patch(path, {"title": "Cake"}, headers={"If-Match": '"1"'})
    assert_problem(stale, 412, "stale_version")
    assert alice.get(path).json["title"] == "Bread"


def test_a_change_of_what_another_deletes_meanwhile_finds_nothing(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.delete(path))
    assert_problem(alice.patch(path, {"title": "Cake"}), 404, "not_found")


def test_parallel_completions_complete_once(alice, run_parallel):
    path = f"/tasks/{alice.task()['id']}"
    answers = run_parallel(alice, [("PUT", f"{path}/status", {"status": "completed"})] * CROWD)
    assert statuses(answers) == {200: CROWD}
    assert {answer.json["version"] for answer in answers} == {2}
    assert len({answer.json["completed_at"] for answer in answers}) == 1


def test_parallel_creations_are_all_kept(alice, run_parallel, stored):
    answers = run_parallel(alice, [("POST", "/tasks", {"title": f"By {n}"}) for n in range(CROWD)])
    assert statuses(answers) == {201: CROWD}
    assert len({answer.json["id"] for answer in answers}) == CROWD
    assert stored(select(func.count(Task.id))) == [(CROWD,)]


def test_user_deletion_races_changes_of_its_tasks(accounts, run_parallel, stored):
    for number in range(5):
        account = accounts.make(f"leaving{number}")
        ids = [account.task("Milk")["id"] for _ in range(3)]
        changes = [("PATCH", f"/tasks/{task_id}", {"title": "New"}) for task_id in ids]
        requests = [("DELETE", "/auth/me", None), *changes, ("POST", "/tasks", {"title": "Late"})]
        deletion, *responses = run_parallel(account, requests)
        assert deletion.status_code == 204
        assert {response.status_code for response in responses} <= {200, 201, 401, 404, 409}
        for remaining in (User.id, Task.id):
            assert stored(select(remaining)) == []


def test_parallel_batches_over_the_tasks_of_two_users_do_not_deadlock(
    admin, alice, bob, run_parallel
):
    mine = [alice.task("Milk")["id"] for _ in range(10)]
    yours = [bob.task("Bread")["id"] for _ in range(10)]
    for number in range(8):
        forwards = [
            {"op": "update", "id": task_id, "body": {"title": f"{number}"}}
            for pair in zip(mine, yours, strict=True)
            for task_id in pair
        ]
        backwards = [
            {"op": "update", "id": task_id, "body": {"description": f"{number}"}}
            for pair in zip(yours[5:], mine[5:], strict=True)
            for task_id in pair
        ]
        batches = (forwards[:10], backwards)
        requests = [("POST", "/tasks/batch", {"operations": batch}) for batch in batches]
        for response in run_parallel(admin, requests):
            assert response.status_code == 200, response.text
            assert {result["status"] for result in response.json["results"]} == {200}
