"""Conditional reads: an ETag of a list changes with the list, and is specific to a user."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import NamedTuple

import pytest
import time_machine
from flask import Flask
from sqlalchemy import insert, text, update

from app import create_app
from app.extensions import db
from app.tasks.models import Task
from tests.accounts import Account
from tests.factories import TaskRow
from tests.problems import assert_problem

LISTS = ["", "?limit=1", "?sort=-due&status=pending,completed", "?q=milk&due_before=2030-02-01"]


@pytest.fixture
def worker(settings, app):
    """Create the application of another worker process."""
    workers = []

    def create():
        workers.append(create_app(settings))
        return workers[-1]

    yield create
    for other in workers:
        with other.app_context():
            db.engine.dispose()


def on(application, account):
    """Return the same user as a client of another worker."""
    return Account(application.test_client(), account.login)


def execute(application, *statements):
    with application.app_context():
        for statement in statements:
            db.session.execute(statement)
        db.session.commit()


def if_none_match(response):
    return {"If-None-Match": response.headers["ETag"]}


@pytest.mark.parametrize("query", LISTS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_unchanged_list_is_304_on_every_worker(app, alice, worker, query, method):
    for number in range(3):
        alice.task(f"Milk {number}", due_date="2030-01-31")
    first = alice.get(f"/tasks{query}")
    for application in (app, worker()):
        response = on(application, alice).call(
            method, f"/tasks{query}", headers=if_none_match(first)
        )
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == first.headers["ETag"]


def test_each_page_has_an_etag_of_its_own(alice, worker):
    for number in range(3):
        alice.task(f"Milk {number}")
    first = alice.get("/tasks?limit=2")
    query = {"limit": 2, "cursor": first.json["next_cursor"]}
    second = alice.get("/tasks", query_string=query)
    tags = {response.headers["ETag"] for response in (alice.get("/tasks"), first, second)}
    assert len(tags) == 3
    response = on(worker(), alice).get("/tasks", query_string=query, headers=if_none_match(second))
    assert response.status_code == 304


def test_same_list_has_the_same_body_and_headers(alice):
    for number in range(3):
        alice.task(f"Milk {number}")
    first = alice.get("/tasks?limit=2")
    again = alice.get("/tasks?limit=2")
    head = alice.call("HEAD", "/tasks?limit=2")
    assert (again.status_code, again.data) == (200, first.data)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("ETag", "Link", "Content-Type", "Content-Length", "Cache-Control", "Vary"):
        assert again.headers[name] == head.headers[name] == first.headers[name]


class Context(NamedTuple):
    """The users and the task of a test."""

    app: Flask
    alice: Account
    admin: Account
    task_id: int

    @property
    def path(self):
        return f"/tasks/{self.task_id}"

    def sql(self, statement):
        execute(self.app, text(statement) if isinstance(statement, str) else statement)

    def batch(self):
        operation = {"op": "update", "id": self.task_id, "body": {"title": "Milk in a batch"}}
        self.alice.post("/tasks/batch", {"atomic": True, "operations": [operation]})

    def insert(self):
        self.sql(insert(Task).values([TaskRow(created_by=self.alice.id) for _ in range(3)]))


COPY = """
    INSERT INTO tasks (title, title_key, status, priority, position, version, created_by,
        created_at, updated_at)
    SELECT title, title_key, status, priority, position, 1, created_by, created_at, updated_at
    FROM tasks
"""
REPLACEMENT = {"title": "New milk", "status": "pending"}
WRITES = {
    "create": lambda context: context.alice.task("New milk"),
    "replace": lambda context: context.alice.put(context.path, REPLACEMENT),
    "update": lambda context: context.alice.patch(context.path, {"title": "Other milk"}),
    "status": lambda context: context.alice.put(f"{context.path}/status", {"status": "completed"}),
    "delete": lambda context: context.alice.delete(context.path),
    "batch": Context.batch,
    "update by administrator": lambda context: context.admin.patch(context.path, {"title": "Late"}),
    "delete by administrator": lambda context: context.admin.delete(context.path),
    "bulk insert": Context.insert,
    "INSERT": lambda context: context.sql(COPY),
    "UPDATE": lambda context: context.sql("UPDATE tasks SET title = 'Milk by hand'"),
    "DELETE": lambda context: context.sql("DELETE FROM tasks"),
}


@pytest.mark.parametrize("write", WRITES)
def test_reads_after_a_write_are_fresh_on_every_worker(app, alice, admin, worker, write):
    task = alice.task("Milk", due_date="2030-01-31")
    alice.task("Bread")
    context = Context(app, alice, admin, task["id"])
    workers = [alice, on(worker(), alice)]
    before = {query: alice.get(f"/tasks{query}") for query in LISTS}
    for account in workers:
        assert account.get(context.path).json == task
        for query in LISTS:
            assert account.get(f"/tasks{query}").data == before[query].data
    WRITES[write](context)
    for account in [*workers, on(worker(), alice)]:
        expected = admin.get(context.path)
        response = account.get(context.path)
        assert response.status_code == expected.status_code
        assert response.json.get("title") == expected.json.get("title")
        assert response.headers.get("ETag") == expected.headers.get("ETag")
        for query in LISTS:
            path = f"/tasks{query}"
            by_owner = f"{path}{'&' if query else '?'}owner_id={alice.id}"
            rows = admin.get(by_owner).json["data"]
            assert account.get(path).json["data"] == rows
            again = account.get(path, headers=if_none_match(before[query]))
            if again.status_code == 304:  # the write did not change this page
                assert account.get(path).data == before[query].data
            else:
                assert (again.status_code, again.json["data"]) == (200, rows)
    assert alice.get("/tasks").json["data"] != before[""].json["data"]


def test_list_follows_a_change_of_time_zone(alice, worker):
    alice.task("Milk", due_at="2030-01-31T12:00:00Z")
    path = "/tasks?due_before=2030-02-01"
    other = on(worker(), alice)
    first = other.get(path)
    assert len(first.json["data"]) == 1
    assert alice.patch("/auth/me", {"time_zone": "Pacific/Kiritimati"}).status_code == 200
    for headers in ({}, if_none_match(first)):
        assert other.get(path, headers=headers).json["data"] == []


def test_overdue_list_changes_as_time_passes(alice):
    due = datetime.now(UTC) + timedelta(minutes=5)
    alice.task("Milk", due_at=due.isoformat().replace("+00:00", "Z"))
    first = alice.get("/tasks?overdue=true")
    assert first.json["data"] == []
    with time_machine.travel(due + timedelta(minutes=1)):
        response = alice.get("/tasks?overdue=true", headers=if_none_match(first))
    assert [row["title"] for row in response.json["data"]] == ["Milk"]


def test_etag_of_one_user_never_gives_another_user_a_304(alice, bob, admin):
    empty = [alice.get("/tasks"), bob.get("/tasks")]
    assert bob.get("/tasks", headers=if_none_match(empty[0])).status_code == 200
    alice.task("Milk")
    full = alice.get("/tasks")
    assert alice.get("/tasks").data == full.data
    for headers in ({}, if_none_match(full)):
        assert bob.get("/tasks", headers=headers).data == empty[1].data
    own = admin.get("/tasks", headers=if_none_match(full))
    assert (own.status_code, own.json["data"]) == (200, [])
    assert alice.get(f"/tasks?owner_id={alice.id}").json == full.json
    hidden = bob.get(f"/tasks?owner_id={alice.id}", headers=if_none_match(full))
    assert (hidden.status_code, hidden.json["data"]) == (200, [])


def test_same_task_has_the_same_body_and_headers(alice):
    task = alice.task("Milk")
    path = f"/tasks/{task['id']}"
    first = alice.get(path)
    again = alice.get(path)
    unchanged = alice.get(path, headers=if_none_match(first))
    head = alice.call("HEAD", path)
    assert (first.json, again.data) == (task, first.data)
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert (head.status_code, head.data) == (200, b"")
    for name in ("ETag", "Content-Type", "Content-Length", "Cache-Control", "Vary"):
        assert again.headers[name] == head.headers[name] == first.headers[name]
    assert first.headers["ETag"] == unchanged.headers["ETag"] == '"1"'


def test_task_is_visible_to_its_creator_and_administrators_only(alice, bob, admin):
    task = alice.task("Milk")
    path = f"/tasks/{task['id']}"
    for _ in range(2):
        assert alice.get(path).json == task
        assert_problem(bob.get(path), 404, "not_found")
        assert admin.get(path).json == task
    alice.patch(path, {"title": "Bread"})
    assert admin.get(path).json["title"] == "Bread"
    alice.delete(path)
    for account in (alice, bob, admin):
        assert_problem(account.get(path), 404, "not_found")


def test_administrator_sees_changes_of_another_users_list(alice, admin):
    alice.task("Milk")
    path = f"/tasks?owner_id={alice.id}"
    first = admin.get(path)
    alice.task("Bread")
    response = admin.get(path, headers=if_none_match(first))
    assert [row["title"] for row in response.json["data"]] == ["Bread", "Milk"]


def test_writes_of_another_user_do_not_change_the_etag(alice, bob, admin):
    alice.task("Milk")
    mine = alice.get("/tasks")
    task = bob.task("Bread")
    bob.patch(f"/tasks/{task['id']}", {"title": "Butter"})
    admin.delete(f"/tasks/{task['id']}")
    response = alice.get("/tasks", headers=if_none_match(mine))
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == mine.headers["ETag"]


def test_reminder_does_not_change_the_etag(app, alice):
    task = alice.task("Milk", due_date="2030-01-31")
    first = alice.get("/tasks")
    execute(app, update(Task).where(Task.id == task["id"]).values(remind_at=datetime.now(UTC)))
    assert alice.get("/tasks", headers=if_none_match(first)).status_code == 304


def test_rolled_back_write_does_not_change_the_etag(alice):
    task = alice.task("Milk")
    first = alice.get("/tasks")
    missing = {"op": "delete", "id": task["id"] + 1}
    change = {"op": "update", "id": task["id"], "body": {"title": "Bread"}}
    rejected = alice.post("/tasks/batch", {"atomic": True, "operations": [change, missing]})
    assert rejected.status_code == 404
    assert alice.patch(f"/tasks/{task['id']}", {"title": "Milk"}).json["version"] == 1
    assert alice.get("/tasks", headers=if_none_match(first)).status_code == 304


@pytest.mark.parametrize("tag", ["*", "{tag}"])
def test_invalid_request_is_rejected_whatever_its_if_none_match(alice, tag):
    first = alice.get("/tasks")
    headers = {"If-None-Match": tag.format(tag=first.headers["ETag"])}
    assert_problem(alice.get("/tasks?cursor=x", headers=headers), 422, "invalid_cursor")
    assert_problem(alice.get("/tasks?limit=0", headers=headers), 422, "validation_error")
    not_acceptable = alice.get("/tasks", headers=headers | {"Accept": "text/html"})
    assert_problem(not_acceptable, 406, "not_acceptable")
    anonymous = alice.client.get("/api/v1/tasks", headers=headers)
    assert_problem(anonymous, 401, "authentication_required")


def test_if_none_match_needs_a_live_session(alice):
    first = alice.get("/tasks")
    assert alice.get("/tasks").data == first.data
    assert alice.post("/auth/logout").status_code == 204
    for headers in ({}, if_none_match(first)):
        assert_problem(alice.get("/tasks", headers=headers), 401, "token_revoked")


def test_etag_changes_with_the_public_url(settings, alice):
    alice.task("Milk")
    first = alice.get("/tasks")
    other = create_app(settings | {"PUBLIC_URL": "https://other.example.com"})
    response = on(other, alice).get("/tasks", headers=if_none_match(first))
    assert (response.status_code, len(response.json["data"])) == (200, 1)
    with other.app_context():
        db.engine.dispose()


def test_no_read_is_older_than_a_write_that_ended_before_it(app, alice, worker):
    """Three readers and a writer on each of two workers: as many threads as connections."""
    ids = [alice.task("0")["id"] for _ in range(4)]
    written, done = dict.fromkeys(ids, 0), Event()
    applications = [app, worker()]

    def write(number):
        account, rng = on(applications[number], alice), random.Random(number)
        for _ in range(40):
            task_id = ids[number * 2 + rng.randrange(2)]
            count = written[task_id] + 1
            if rng.random() < 0.5:
                response = account.patch(f"/tasks/{task_id}", {"title": str(count)})
            else:
                operation = {"op": "update", "id": task_id, "body": {"title": str(count)}}
                response = account.post("/tasks/batch", {"operations": [operation]})
            assert response.status_code == 200, response.text
            written[task_id] = count

    def read(number):
        account, tag, latest = on(applications[number % 2], alice), {}, {}
        reads = 0
        while not done.is_set():
            minimum = dict(written)
            response = account.get("/tasks?limit=10", headers=tag if number % 4 > 1 else {})
            if response.status_code == 200:
                latest = {task["id"]: int(task["title"]) for task in response.json["data"]}
                tag = if_none_match(response)
            assert all(latest[task_id] >= minimum[task_id] for task_id in ids), (latest, minimum)
            reads += 1
        return reads

    with ThreadPoolExecutor(8) as threads:
        readers = [threads.submit(read, number) for number in range(6)]
        try:
            list(threads.map(write, range(2)))
        finally:
            done.set()
        assert all(reader.result() for reader in readers)
    final = {task["id"]: int(task["title"]) for task in alice.get("/tasks").json["data"]}
    assert final == written
