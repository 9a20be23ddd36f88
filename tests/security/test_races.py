"""Checks K1 to K3: concurrent requests lose nothing, create no duplicates, and never get a 5xx."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from app.auth.models import User
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.problems import assert_problem

CROWD = 20


def statuses(responses):
    return Counter(response.status_code for response in responses)


def test_k1_one_of_20_parallel_registrations_succeeds(run_parallel, stored):
    bodies = [
        {"username": f"user-{n}", "email": "Ada@Example.com", "password": PASSWORD}
        for n in range(CROWD)
    ]
    responses = run_parallel(None, [("POST", "/auth/register", body) for body in bodies])
    assert statuses(responses) == {201: 1, 409: CROWD - 1}
    [created] = [response.json for response in responses if response.status_code == 201]
    for response in responses:
        if response.status_code == 409:
            assert_problem(response, 409, "conflict", field="email")
    assert stored(select(User.id, User.username)) == [(created["id"], created["username"])]


def test_k2_no_increment_with_if_match_is_lost(alice, stored):
    path = f"/tasks/{alice.task('0')['id']}"

    def increment(_number):
        client = alice.with_new_client()
        while True:
            read = client.get(path)
            counted = {"title": str(int(read.json["title"]) + 1)}
            response = client.patch(path, counted, headers={"If-Match": read.headers["ETag"]})
            if response.status_code == 200:
                return response.json["title"]
            assert_problem(response, 412, "stale_version")

    with ThreadPoolExecutor(CROWD) as threads:
        counts = list(threads.map(increment, range(CROWD)))
    assert sorted(map(int, counts)) == list(range(1, CROWD + 1))
    assert stored(select(Task.title, Task.version)) == [(str(CROWD), CROWD + 1)]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"title": "Changed"}),
        ("PUT", "", {"title": "Changed", "status": "pending"}),
        ("PUT", "/status", {"status": "completed"}),
        ("PATCH", "", {"position": "m"}),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"If-Match": '"1"'}])
def test_k3_delete_during_updates_leaves_no_row(
    alice, run_parallel, stored, method, path, body, headers
):
    task = f"/tasks/{alice.task()['id']}"
    requests = [(method, f"{task}{path}", body, headers)] * (CROWD - 1)
    *changes, deletion = run_parallel(alice, [*requests, ("DELETE", task, None)])
    assert deletion.status_code == 204
    assert statuses(changes).keys() <= {200, 404, 412}
    if headers:
        assert statuses(changes)[200] <= 1
    for response in changes:
        if response.status_code == 404:
            assert_problem(response, 404, "not_found")
    assert stored(select(Task.id)) == []


def test_k3_delete_during_batches_leaves_no_row(alice, run_parallel, stored):
    task = alice.task()
    change = {"op": "update", "id": task["id"], "body": {"title": "Changed"}}
    batches = [("POST", "/tasks/batch", {"atomic": True, "operations": [change]})] * (CROWD - 1)
    *changes, deletion = run_parallel(alice, [*batches, ("DELETE", f"/tasks/{task['id']}", None)])
    assert deletion.status_code == 204
    assert statuses(changes).keys() <= {200, 404}
    assert stored(select(Task.id)) == []


def test_k3_one_of_20_parallel_deletes_succeeds(alice, run_parallel, stored):
    path = f"/tasks/{alice.task()['id']}"
    responses = run_parallel(alice, [("DELETE", path, None)] * CROWD)
    assert statuses(responses) == {204: 1, 404: CROWD - 1}
    assert stored(select(Task.id)) == []


def test_k3_creates_during_account_deletion_leave_no_orphans(alice, run_parallel, stored):
    requests = [("POST", "/tasks", {"title": f"By {n}"}) for n in range(CROWD - 1)]
    *creations, ending = run_parallel(alice, [*requests, ("DELETE", "/auth/me", None)])
    assert ending.status_code == 204
    assert statuses(creations).keys() <= {201, 401}
    assert stored(select(Task.id)) == stored(select(User.id)) == []
