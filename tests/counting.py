"""What a request costs, counted instead of timed: the same on every machine, whatever else it does.

``python -m tests.counting``: prints it as JSON, for an application that the environment sets, on a
database that is migrated and empty. It is a process of its own, for what traces a test run would
be counted with it.
"""

import gc
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from cProfile import Profile
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from flask import Flask, jsonify
from sqlalchemy import insert
from werkzeug.test import EnvironBuilder

from app import create_app, database
from app.auth import services
from app.extensions import cache, db
from app.tasks.models import Priority, Status, Task
from tests.factories import TaskRow
from tests.watching import connections_of, statements_of

PASSWORD = "correct horse battery"
USERNAME = "counted"
# Enough to be prepared by PostgreSQL's driver, which does so from the sixth time on.
WARM_UPS = 10
ROUNDS = 5
TURNS = WARM_UPS + ROUNDS + 1
TASKS = 60
CALLS = f"calls, Python {sys.version_info.major}.{sys.version_info.minor}"

Sent = Mapping[str, Any]
# By what is counted, and by operation.
Costs = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Scene:
    """An account's token, and its tasks."""

    app: Flask
    token: str
    task_ids: list[int]


@dataclass(frozen=True)
class Operation:
    """What is asked, each turn with other words in place of those in braces.

    With ``anew`` the answer is not remembered, with ``unchanged`` the client has it.
    """

    method: str
    path: str
    status: int = 200
    body: Mapping[str, str] | None = None
    anew: bool = False
    unchanged: bool = False


LIST, GET = "/tasks?limit=50", "/tasks/{first}"
SORTED = "/tasks?status=pending&sort=-priority&limit=50"
LOGIN = {"username": USERNAME, "password": PASSWORD}
CREATED = {"title": "Bread", "priority": "high", "due_date": "2999-01-31", "time_zone": "UTC"}
# In this order, each on what the ones before have left.
OPERATIONS: Mapping[str, Operation] = {
    "login": Operation("POST", "/auth/login", body=LOGIN),
    "list": Operation("GET", LIST, anew=True),
    "list, remembered": Operation("GET", LIST),
    "list, unchanged": Operation("GET", LIST, 304, unchanged=True),
    "list, filtered and sorted": Operation("GET", SORTED, anew=True),
    "search": Operation("GET", "/tasks?q=milk&limit=50", anew=True),
    "get": Operation("GET", GET),
    "get, unchanged": Operation("GET", GET, 304, unchanged=True),
    "create": Operation("POST", "/tasks", 201, body=CREATED),
    "patch": Operation("PATCH", GET, body={"title": "Changed in turn {turn}"}),
    "delete": Operation("DELETE", "/tasks/{next}", 204),
}


def count(scene: Scene, operations: Mapping[str, Operation] = OPERATIONS) -> Costs:
    """Return, of each operation, the statements, the connections, and the calls of functions.

    Calls are a multiple of those of a bare Flask route.
    """
    bare = _calls(_bare_app(), 200, lambda _: _environ("GET", "/"))
    costs: Costs = {"statements": {}, "connections": {}, CALLS: {}}
    for name, operation in operations.items():
        ask = _asking(scene, operation)
        calls = _calls(scene.app, operation.status, ask)
        costs[CALLS][name] = round(calls / bare, 3)
        asked = ask(TURNS - 1)
        with statements_of(scene.app) as statements, connections_of(scene.app) as connections:
            _answer(scene.app, asked, operation.status)
        costs["statements"][name] = len(statements)
        costs["connections"][name] = len(connections)
    return costs


def prepare(app: Flask) -> Scene:
    """Open an account, and give it tasks: their times are long ago or far off, on whatever day."""
    with app.app_context():
        user = services.register(
            username=USERNAME, email=f"{USERNAME}@example.com", password=PASSWORD
        )
        rows = [
            TaskRow(
                created_by=user.id,
                now=datetime(2020, 1, 31, 9, number, tzinfo=UTC),
                title=f"{('Buy milk', 'Call Eve', 'Water the plants')[number % 3]}, {number}",
                description="Some more of it." if number % 2 else None,
                status=(Status.pending, Status.pending, Status.in_progress)[number % 3],
                priority=[*Priority][number % len(Priority)].name,
                due_at=datetime(2999, 1, 31, number % 24, tzinfo=UTC) if number % 4 else None,
            )
            for number in range(TASKS)
        ]
        added = insert(Task).returning(Task.id, sort_by_parameter_order=True)
        task_ids = list(db.session.scalars(added, rows))
        db.session.commit()
    answer = _answer(app, _environ("POST", "/api/v1/auth/login", body=LOGIN), 200)
    return Scene(app, json.loads(answer.body)["access_token"], task_ids)


def _asking(scene: Scene, operation: Operation) -> Callable[[int], Sent]:
    """Return what makes the request of a turn; all else that it needs is done before."""

    def ask(turn: int) -> Sent:
        ids = scene.task_ids
        path = f"/api/v1{operation.path.format(first=ids[0], next=ids[-1 - turn])}"
        headers = {"Authorization": f"Bearer {scene.token}"}
        if operation.unchanged:
            there = _answer(scene.app, _environ("GET", path, headers), 200)
            headers["If-None-Match"] = there.headers["ETag"]
        if operation.anew:
            with scene.app.app_context():
                cache.clear()
        said = operation.body
        body = said and {name: value.format(turn=turn) for name, value in said.items()}
        return _environ(operation.method, path, headers, body)

    return ask


def _environ(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None
) -> Sent:
    told = list((headers or {}).items())
    return EnvironBuilder(path, method=method, headers=told, json=body).get_environ()


def _calls(app: Flask, status: int, ask: Callable[[int], Sent]) -> float:
    """Return how many functions a request calls, Python's and those in C, once all is warm."""
    for turn in range(WARM_UPS):
        _answer(app, ask(turn), status)
    counts = []
    for turn in range(WARM_UPS, WARM_UPS + ROUNDS):
        asked = ask(turn)
        profile = Profile()
        with _without_collector():
            profile.runcall(_answer, app, asked, status)
        counts.append(sum(entry.callcount for entry in profile.getstats()))
    return median(counts)


def _answer(app: Any, asked: Sent, status: int) -> Answer:
    """Have an application answer (PEP 3333). Raises AssertionError for an unexpected status."""
    told: list[Any] = []
    parts = app(dict(asked), lambda *said: told.extend(said))
    try:
        body = b"".join(parts)
    finally:
        parts.close()
    answer = Answer(int(told[0][:3]), dict(told[1]), body)
    assert answer.status == status, (asked["PATH_INFO"], answer)
    return answer


@contextmanager
def _without_collector() -> Iterator[None]:
    """Have nothing collected meanwhile: what that calls would count for whoever is interrupted."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _bare_app() -> Flask:
    app = Flask("bare")

    @app.get("/")
    def hello() -> Any:
        return jsonify(message="hello")

    return app


def main() -> None:
    # How long a connection was idle depends on the machine, and so whether it is asked anything.
    database.IDLE_SECONDS = math.inf
    app = create_app()
    json.dump(count(prepare(app)), sys.stdout)


if __name__ == "__main__":
    main()
