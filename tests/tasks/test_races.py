"""What happens at once: nothing is lost, and nobody gets a 5xx."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import func, select

from app.auth.models import User
from app.tasks.models import Task
from tests.accounts import PASSWORD
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


@pytest.fixture
def at_once(app):
    """Runs requests in parallel, each by a client of its own, all starting together."""

    def run(account, requests):
        start = Barrier(len(requests))

        def send(request):
            method, path, body = request
            client = app.test_client()
            headers = {"Authorization": f"Bearer {account.access_token}"} if account else {}
            start.wait()
            return client.open(f"/api/v1{path}", method=method, headers=headers, json=body)

        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(send, requests))

    return run


def statuses(answers):
    return Counter(answer.status_code for answer in answers)


def test_parallel_changes_of_different_fields_all_survive(alice, at_once):
    paths = [f"/tasks/{alice.task()['id']}" for _ in range(3)]
    requests = [("PATCH", path, {name: CHANGES[name]}) for name in CHANGES for path in paths]
    answers = at_once(alice, requests)
    assert statuses(answers) == {200: len(requests)}
    for path in paths:
        task = alice.get(path).json
        assert {name: task[name] for name in CHANGES} == CHANGES
        assert task["version"] == 1 + len(CHANGES)


def test_parallel_changes_of_one_field_each_make_one_version(alice, at_once):
    path = f"/tasks/{alice.task()['id']}"
    answers = at_once(alice, [("PATCH", path, {"title": f"By {n}"}) for n in range(CROWD)])
    assert statuses(answers) == {200: CROWD}
    by_version = {answer.json["version"]: answer.json for answer in answers}
    assert sorted(by_version) == list(range(2, CROWD + 2))
    assert alice.get(path).json == by_version[CROWD + 1]


def test_parallel_completions_complete_once(alice, at_once):
    path = f"/tasks/{alice.task()['id']}"
    answers = at_once(alice, [("PUT", f"{path}/status", {"status": "completed"})] * CROWD)
    assert statuses(answers) == {200: CROWD}
    assert {answer.json["version"] for answer in answers} == {2}
    assert len({answer.json["completed_at"] for answer in answers}) == 1


def test_a_delete_that_races_changes_leaves_nothing_and_no_error(alice, at_once, stored):
    path = f"/tasks/{alice.task()['id']}"
    requests = [("PATCH", path, {"title": f"By {n}"}) for n in range(CROWD - 1)]
    *changes, deletion = at_once(alice, [*requests, ("DELETE", path, None)])
    assert deletion.status_code == 204
    assert statuses(changes).keys() <= {200, 404}
    for answer in changes:
        if answer.status_code == 404:
            assert_problem(answer, 404, "not_found")
    assert stored(select(Task.id)) == []


def test_of_parallel_deletions_one_deletes(alice, at_once, stored):
    path = f"/tasks/{alice.task()['id']}"
    answers = at_once(alice, [("DELETE", path, None)] * CROWD)
    assert statuses(answers) == {204: 1, 404: CROWD - 1}
    assert stored(select(Task.id)) == []


def test_parallel_creations_are_all_kept(alice, at_once, stored):
    answers = at_once(alice, [("POST", "/tasks", {"title": f"By {n}"}) for n in range(CROWD)])
    assert statuses(answers) == {201: CROWD}
    assert len({answer.json["id"] for answer in answers}) == CROWD
    assert stored(select(func.count(Task.id))) == [(CROWD,)]


def test_creations_that_race_the_end_of_their_account_leave_no_orphans(alice, at_once, stored):
    requests = [("POST", "/tasks", {"title": f"By {n}"}) for n in range(CROWD - 1)]
    *creations, ending = at_once(alice, [*requests, ("DELETE", "/auth/me", None)])
    assert ending.status_code == 204
    assert statuses(creations).keys() <= {201, 401, 409}
    assert stored(select(Task.id)) == stored(select(User.id)) == []


def test_of_parallel_registrations_of_one_address_one_opens_an_account(at_once, stored):
    bodies = [
        {"username": f"user-{n}", "email": "Ada@Example.com", "password": PASSWORD}
        for n in range(CROWD)
    ]
    answers = at_once(None, [("POST", "/auth/register", body) for body in bodies])
    assert statuses(answers) == {201: 1, 409: CROWD - 1}
    [opened] = [answer.json for answer in answers if answer.status_code == 201]
    for answer in answers:
        if answer.status_code == 409:
            assert_problem(answer, 409, "conflict", field="email")
    assert stored(select(User.id, User.username)) == [(opened["id"], opened["username"])]
