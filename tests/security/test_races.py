"""K: what happens at once: nothing is lost or doubled, and nobody gets a 5xx."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from app.auth.models import User
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.problems import assert_problem

CROWD = 20


def statuses(answers):
    return Counter(answer.status_code for answer in answers)


def test_k1_of_parallel_registrations_of_one_address_one_opens_an_account(at_once, stored):
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


def test_k2_of_20_increments_by_read_if_match_and_retry_none_is_lost(alice, stored):
    path = f"/tasks/{alice.task('0')['id']}"

    def increment(_number):
        client = alice.again()
        while True:
            read = client.get(path)
            counted = {"title": str(int(read.json["title"]) + 1)}
            answer = client.patch(path, counted, headers={"If-Match": read.headers["ETag"]})
            if answer.status_code == 200:
                return answer.json["title"]
            assert_problem(answer, 412, "stale_version")

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
def test_k3_a_delete_racing_changes_leaves_nothing_and_no_error(
    alice, at_once, stored, method, path, body, headers
):
    task = f"/tasks/{alice.task()['id']}"
    requests = [(method, f"{task}{path}", body, headers)] * (CROWD - 1)
    *changes, deletion = at_once(alice, [*requests, ("DELETE", task, None)])
    assert deletion.status_code == 204
    assert statuses(changes).keys() <= {200, 404, 412}
    if headers:
        assert statuses(changes)[200] <= 1
    for answer in changes:
        if answer.status_code == 404:
            assert_problem(answer, 404, "not_found")
    assert stored(select(Task.id)) == []


def test_k3_a_delete_racing_a_batch_leaves_nothing_and_no_error(alice, at_once, stored):
    task = alice.task()
    change = {"op": "update", "id": task["id"], "body": {"title": "Changed"}}
    batches = [("POST", "/tasks/batch", {"atomic": True, "operations": [change]})] * (CROWD - 1)
    *changes, deletion = at_once(alice, [*batches, ("DELETE", f"/tasks/{task['id']}", None)])
    assert deletion.status_code == 204
    assert statuses(changes).keys() <= {200, 404}
    assert stored(select(Task.id)) == []


def test_k3_of_parallel_deletions_one_deletes(alice, at_once, stored):
    path = f"/tasks/{alice.task()['id']}"
    answers = at_once(alice, [("DELETE", path, None)] * CROWD)
    assert statuses(answers) == {204: 1, 404: CROWD - 1}
    assert stored(select(Task.id)) == []


def test_k3_creations_that_race_the_end_of_their_account_leave_no_orphans(alice, at_once, stored):
    requests = [("POST", "/tasks", {"title": f"By {n}"}) for n in range(CROWD - 1)]
    *creations, ending = at_once(alice, [*requests, ("DELETE", "/auth/me", None)])
    assert ending.status_code == 204
    assert statuses(creations).keys() <= {201, 401, 409}
    assert stored(select(Task.id)) == stored(select(User.id)) == []
