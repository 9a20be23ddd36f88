"""The number of statements and connections that each operation takes, per database.

A change that moves a number edits ``costs.json`` with it, so that the review shows the difference.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from app.extensions import db
from tests.accounts import PASSWORD
from tests.conftest import ROOT
from tests.recorders import record_connections, record_statements

EXPECTED = json.loads((ROOT / "tests" / "costs.json").read_text())
NEW_TASK = {"title": "Bread", "priority": "high", "due_date": "2999-01-31", "time_zone": "UTC"}


@dataclass(frozen=True)
class Operation:
    """A request; ``{id}`` is a task and ``{limit}`` a page size that no other request uses."""

    method: str
    path: str
    status: int = 200
    json: Mapping[str, Any] | None = None
    # Send the ETag of the current representation.
    conditional: bool = False


LIST = "/tasks?limit={limit}"
OPERATIONS = {
    "login": Operation("POST", "/auth/login", json={"username": "alice", "password": PASSWORD}),
    "list": Operation("GET", LIST),
    "list, unchanged": Operation("GET", LIST, 304, conditional=True),
    "list, filtered and sorted": Operation("GET", f"{LIST}&status=pending&sort=-priority"),
    "search": Operation("GET", f"{LIST}&q=milk"),
    "get": Operation("GET", "/tasks/{id}"),
    "get, unchanged": Operation("GET", "/tasks/{id}", 304, conditional=True),
    "create": Operation("POST", "/tasks", 201, json=NEW_TASK),
    "patch": Operation("PATCH", "/tasks/{id}", json={"title": "Bread"}),
    "delete": Operation("DELETE", "/tasks/{id}", 204),
}


@pytest.fixture
def tasks(alice) -> Iterator[dict[str, Any]]:
    return iter([alice.task(f"Buy milk, {number}") for number in range(6)])


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_takes_the_expected_statements_and_connections(app, alice, tasks, name):
    operation = OPERATIONS[name]

    def prepare(limit):
        path = operation.path.format(id=next(tasks)["id"], limit=limit)
        options: dict[str, Any] = {"json": operation.json} if operation.json else {}
        if operation.conditional:
            options["headers"] = {"If-None-Match": alice.get(path).headers["ETag"]}
        return path, options

    def send(path, options):
        assert alice.call(operation.method, path, **options).status_code == operation.status

    # The first request may read what the process then caches.
    send(*prepare(limit=4))
    request = prepare(limit=5)
    with record_statements(app) as statements, record_connections(app) as connections:
        send(*request)

    with app.app_context():
        database = db.engine.dialect.name
    counted = {"connections": len(connections), "statements": len(statements)}
    assert counted == EXPECTED[database][name], statements


def test_every_operation_has_expected_costs_on_each_database():
    assert EXPECTED.keys() == {"postgresql", "sqlite"}
    for costs in EXPECTED.values():
        assert costs.keys() == OPERATIONS.keys()
