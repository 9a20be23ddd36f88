"""Lists that are remembered: never late, never another's, and free for whoever has them already."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import NamedTuple

import pytest
import time_machine
from cachetools import LRUCache
from flask import Flask
from sqlalchemy import insert, text

from app import create_app
from app.extensions import cache, db
from app.http import remembering
from app.tasks.models import Task
from tests.accounts import Account
from tests.factories import TaskRow
from tests.problems import assert_problem
from tests.watching import statements_of

LISTS = ["", "?limit=1", "?sort=-due&status=pending,completed", "?q=milk&due_before=2030-02-01"]


@pytest.fixture
def worker(settings, app):
    """Makes another process's application, which has nothing remembered yet."""
    made = []

    def make():
        made.append(create_app(settings))
        return made[-1]

    yield make
    for other in made:
        with other.app_context():
            db.engine.dispose()


def at(application, account):
    """The account, at another worker."""
    return Account(application.test_client(), account.login)


def run(application, *statements):
    with application.app_context():
        for statement in statements:
            db.session.execute(statement)
        db.session.commit()


def held(answer):
    return {"If-None-Match": answer.headers["ETag"]}


@pytest.mark.parametrize("query", LISTS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_has_a_list_that_is_unchanged_costs_the_query_of_its_session_alone_on_any_worker(
    app, alice, worker, query, method
):
    for number in range(3):
        alice.task(f"Milk {number}", due_date="2030-01-31")
    first = alice.get(f"/tasks{query}")
    for application in (app, worker()):
        account = at(application, alice)
        for _ in range(2):
            with statements_of(application) as seen:
                answer = account.call(method, f"/tasks{query}", headers=held(first))
            assert (answer.status_code, answer.data) == (304, b"")
            assert answer.headers["ETag"] == first.headers["ETag"]
            assert len(seen) == 1
            assert "FROM sessions" in seen[0]


def test_of_a_list_that_changes_only_the_last_answer_is_remembered(app, alice, bob):
    with app.app_context():
        cache.clear()
    for number in range(5):
        alice.task(f"Milk {number}")
        bob.task(f"Bread {number}")
        for account, first in ((alice, f"Milk {number}"), (bob, f"Bread {number}")):
            assert account.get("/tasks").json["data"][0]["title"] == first
            account.get("/tasks?limit=1")
    with app.app_context():
        told = [text.body for text in remembered().values()]
    assert len(told) == 4
    assert all(b"Milk 4" in body or b"Bread 4" in body for body in told)


def test_pages_that_follow_are_named_alike(app, alice, worker):
    for number in range(3):
        alice.task(f"Milk {number}")
    first = alice.get("/tasks?limit=2")
    query = {"limit": 2, "cursor": first.json["next_cursor"]}
    following = alice.get("/tasks", query_string=query)
    tags = {answer.headers["ETag"] for answer in (alice.get("/tasks"), first, following)}
    assert len(tags) == 3
    other = worker()
    with statements_of(other) as seen:
        answer = at(other, alice).get("/tasks", query_string=query, headers=held(following))
    assert (answer.status_code, len(seen)) == (304, 1)


def test_a_list_that_was_answered_is_answered_again_just_so_without_reading_it(alice, statements):
    for number in range(3):
        alice.task(f"Milk {number}")
    first = alice.get("/tasks?limit=2")
    with statements() as seen:
        again = alice.get("/tasks?limit=2")
        head = alice.call("HEAD", "/tasks?limit=2")
    assert len(seen) == 2
    assert (again.status_code, again.data) == (200, first.data)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("ETag", "Link", "Content-Type", "Content-Length", "Cache-Control", "Vary"):
        assert again.headers[name] == head.headers[name] == first.headers[name]


class Scene(NamedTuple):
    """Who may write, and a task to write on."""

    app: Flask
    alice: Account
    admin: Account
    task_id: int

    @property
    def path(self):
        return f"/tasks/{self.task_id}"

    def sql(self, statement):
        run(self.app, text(statement) if isinstance(statement, str) else statement)

    def batch(self):
        update = {"op": "update", "id": self.task_id, "body": {"title": "Milk in a batch"}}
        self.alice.post("/tasks/batch", {"atomic": True, "operations": [update]})

    def insert(self):
        self.sql(insert(Task).values([TaskRow(created_by=self.alice.id) for _ in range(3)]))


COPY = """
    INSERT INTO tasks (title, title_key, status, priority, position, version, created_by,
        created_at, updated_at)
    SELECT title, title_key, status, priority, position, 1, created_by, created_at, updated_at
    FROM tasks
"""
ANEW = {"title": "Milk anew", "status": "pending"}
WRITES = {
    "create": lambda scene: scene.alice.task("New milk"),
    "replace": lambda scene: scene.alice.put(scene.path, ANEW),
    "change": lambda scene: scene.alice.patch(scene.path, {"title": "Other milk"}),
    "status": lambda scene: scene.alice.put(f"{scene.path}/status", {"status": "completed"}),
    "delete": lambda scene: scene.alice.delete(scene.path),
    "batch": Scene.batch,
    "an administrator's change": lambda scene: scene.admin.patch(scene.path, {"title": "Late"}),
    "an administrator's delete": lambda scene: scene.admin.delete(scene.path),
    "bulk insert": Scene.insert,
    "SQL that inserts": lambda scene: scene.sql(COPY),
    "SQL that changes": lambda scene: scene.sql("UPDATE tasks SET title = 'Milk by hand'"),
    "SQL that deletes": lambda scene: scene.sql("DELETE FROM tasks"),
}


@pytest.mark.parametrize("write", WRITES)
def test_after_any_write_the_next_read_of_any_worker_is_fresh(app, alice, admin, worker, write):
    task = alice.task("Milk", due_date="2030-01-31")
    alice.task("Bread")
    scene = Scene(app, alice, admin, task["id"])
    workers = [alice, at(worker(), alice)]
    before = {query: alice.get(f"/tasks{query}") for query in LISTS}
    for account in workers:
        assert account.get(scene.path).json == task
        for query in LISTS:
            assert account.get(f"/tasks{query}").data == before[query].data
    WRITES[write](scene)
    for account in [*workers, at(worker(), alice)]:
        # What an administrator asks for of another is always read.
        truth = admin.get(scene.path)
        one = account.get(scene.path)
        assert one.status_code == truth.status_code
        assert one.json.get("title") == truth.json.get("title")
        assert one.headers.get("ETag") == truth.headers.get("ETag")
        for query in LISTS:
            path = f"/tasks{query}"
            asked = f"{path}{'&' if query else '?'}owner_id={alice.id}"
            rows = admin.get(asked).json["data"]
            assert account.get(path).json["data"] == rows
            again = account.get(path, headers=held(before[query]))
            assert (again.status_code, again.json["data"]) == (200, rows)
    assert alice.get("/tasks").json["data"] != before[""].json["data"]


def test_a_list_goes_by_the_accounts_zone_as_soon_as_that_is_changed(alice, worker):
    alice.task("Milk", due_at="2030-01-31T12:00:00Z")
    path = "/tasks?due_before=2030-02-01"
    other = at(worker(), alice)
    first = other.get(path)
    assert len(first.json["data"]) == 1
    assert alice.patch("/auth/me", {"time_zone": "Pacific/Kiritimati"}).status_code == 200
    for headers in ({}, held(first)):
        assert other.get(path, headers=headers).json["data"] == []


def test_what_is_overdue_depends_on_the_time_and_is_always_read(alice, statements):
    due = datetime.now(UTC) + timedelta(minutes=5)
    alice.task("Milk", due_at=due.isoformat().replace("+00:00", "Z"))
    first = alice.get("/tasks?overdue=true")
    assert first.json["data"] == []
    with time_machine.travel(due + timedelta(minutes=1)), statements() as seen:
        answer = alice.get("/tasks?overdue=true", headers=held(first))
    assert [row["title"] for row in answer.json["data"]] == ["Milk"]
    assert len(seen) == 2


def test_a_list_is_nobody_elses(alice, bob, admin):
    empty = [alice.get("/tasks"), bob.get("/tasks")]
    assert bob.get("/tasks", headers=held(empty[0])).status_code == 200
    alice.task("Milk")
    full = alice.get("/tasks")
    assert alice.get("/tasks").data == full.data
    for headers in ({}, held(full)):
        assert bob.get("/tasks", headers=headers).data == empty[1].data
    own = admin.get("/tasks", headers=held(full))
    assert (own.status_code, own.json["data"]) == (200, [])
    assert alice.get(f"/tasks?owner_id={alice.id}").json == full.json
    hidden = bob.get(f"/tasks?owner_id={alice.id}", headers=held(full))
    assert (hidden.status_code, hidden.json["data"]) == (200, [])


def test_a_task_is_read_each_time_it_is_asked_for(alice, statements):
    task = alice.task("Milk")
    path = f"/tasks/{task['id']}"
    first = alice.get(path)
    with statements() as seen:
        again = alice.get(path)
        same = alice.get(path, headers=held(first))
        head = alice.call("HEAD", path)
    assert len(seen) == 6
    assert (first.json, again.data) == (task, first.data)
    assert (same.status_code, same.data) == (304, b"")
    assert (head.status_code, head.data) == (200, b"")
    for name in ("ETag", "Content-Type", "Content-Length", "Cache-Control", "Vary"):
        assert again.headers[name] == head.headers[name] == first.headers[name]
    assert first.headers["ETag"] == same.headers["ETag"] == '"1"'


def test_a_task_is_nobody_elses_but_an_administrators(alice, bob, admin):
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


def test_anothers_list_is_read_each_time_for_nobody_tells_when_it_changed(alice, admin, statements):
    alice.task("Milk")
    path = f"/tasks?owner_id={alice.id}"
    first = admin.get(path)
    alice.task("Bread")
    with statements() as seen:
        answer = admin.get(path, headers=held(first))
    assert [row["title"] for row in answer.json["data"]] == ["Bread", "Milk"]
    assert len(seen) == 2


def test_anothers_writes_do_not_change_the_tag_of_mine(alice, bob, admin):
    alice.task("Milk")
    mine = alice.get("/tasks")
    task = bob.task("Bread")
    bob.patch(f"/tasks/{task['id']}", {"title": "Butter"})
    admin.delete(f"/tasks/{task['id']}")
    answer = alice.get("/tasks", headers=held(mine))
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == mine.headers["ETag"]


@pytest.mark.parametrize("tag", ["*", "{tag}"])
def test_a_question_that_is_refused_is_refused_whatever_the_client_has(alice, tag):
    first = alice.get("/tasks")
    headers = {"If-None-Match": tag.format(tag=first.headers["ETag"])}
    assert_problem(alice.get("/tasks?cursor=x", headers=headers), 422, "invalid_cursor")
    assert_problem(alice.get("/tasks?limit=0", headers=headers), 422, "validation_error")
    refused = alice.get("/tasks", headers=headers | {"Accept": "text/html"})
    assert_problem(refused, 406, "not_acceptable")
    anonymous = alice.client.get("/api/v1/tasks", headers=headers)
    assert_problem(anonymous, 401, "authentication_required")


def test_an_answer_that_was_remembered_still_counts_and_still_needs_its_session(alice):
    first = alice.get("/tasks")
    assert alice.get("/tasks").data == first.data
    assert alice.post("/auth/logout").status_code == 204
    for headers in ({}, held(first)):
        assert_problem(alice.get("/tasks", headers=headers), 401, "token_revoked")


def test_another_address_or_secret_makes_other_tags(settings, alice, worker):
    alice.task("Milk")
    first = alice.get("/tasks")
    for changed in ({"PUBLIC_URL": "https://other.example.com"}, {"SECRET_KEY": "y" * 40}):
        other = create_app(settings | changed)
        answer = at(other, alice).get("/tasks", headers=held(first))
        assert (answer.status_code, len(answer.json["data"])) == (200, 1)
        with other.app_context():
            db.engine.dispose()


def test_no_read_is_older_than_a_write_that_was_answered_before_it(app, alice, worker):
    """Eight readers on two workers, while two others count tasks up."""
    ids = [alice.task("0")["id"] for _ in range(4)]
    answered, done = dict.fromkeys(ids, 0), Event()
    applications = [app, worker()]

    def write(number):
        account, dice = at(applications[number], alice), random.Random(number)
        for _ in range(40):
            task_id = ids[number * 2 + dice.randrange(2)]
            count = answered[task_id] + 1
            if dice.random() < 0.5:
                answer = account.patch(f"/tasks/{task_id}", {"title": str(count)})
            else:
                body = {"op": "update", "id": task_id, "body": {"title": str(count)}}
                answer = account.post("/tasks/batch", {"operations": [body]})
            assert answer.status_code == 200, answer.text
            answered[task_id] = count

    def read(number):
        account, tag, last = at(applications[number % 2], alice), {}, {}
        reads = 0
        while not done.is_set():
            known = dict(answered)
            answer = account.get("/tasks?limit=10", headers=tag if number % 4 > 1 else {})
            if answer.status_code == 200:
                last = {task["id"]: int(task["title"]) for task in answer.json["data"]}
                tag = held(answer)
            assert all(last[task_id] >= known[task_id] for task_id in ids), (last, known)
            reads += 1
        return reads

    with ThreadPoolExecutor(10) as threads:
        readers = [threads.submit(read, number) for number in range(8)]
        try:
            list(threads.map(write, range(2)))
        finally:
            done.set()
        assert all(reader.result() for reader in readers)
    final = {task["id"]: int(task["title"]) for task in alice.get("/tasks").json["data"]}
    assert final == answered


def remembered():
    return cache.cache.texts


def test_a_process_remembers_no_more_than_it_has_room_for(app, alice, monkeypatch):
    monkeypatch.setattr(remembering, "LARGEST", 2000)
    alice.task("Small")
    with app.app_context():
        cache.clear()
        monkeypatch.setattr(cache.cache, "texts", LRUCache(20_000, cache.cache.texts.getsizeof))
        for number in range(1, 51):
            alice.get(f"/tasks?limit={number}")
            assert sum(len(text.body) for text in remembered().values()) <= 20_000
        assert 10 < len(remembered()) < 40
        with statements_of(app) as seen:
            alice.get("/tasks?limit=50")
            assert len(seen) == 1
            alice.get("/tasks?limit=1")
            assert len(seen) == 3
        cache.clear()
    alice.task("Large", description="x" * 2000)
    with app.app_context():
        first = alice.get("/tasks")
        assert len(first.data) > 2000
        assert not remembered()
        assert alice.get("/tasks").data == first.data
    assert alice.get("/tasks", headers=held(first)).status_code == 304
