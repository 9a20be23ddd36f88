"""Check F2: a database connection that ends before any statement of any route."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from app.observability.logs import TextFormatter
from app.tasks.models import Task
from tests.accounts import Account, verify_email
from tests.driver import before_statement, hooks, lose_connection
from tests.problems import assert_problem
from tests.security.calls import Route, World

# More statements than any route sends.
MAX_STATEMENTS = 60
# Of the routes, so that several processes can share them.
PARTS = 4


class Lines(logging.Handler):
    """The warnings and errors as a text log has them."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.setFormatter(TextFormatter())
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def log():
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def hooked(app, monkeypatch):
    with hooks(app, monkeypatch):
        yield app


@dataclass(frozen=True)
class Call:
    """A successful call of a route."""

    world: World
    route: Route
    account: Account
    token: str
    headers: Mapping[str, str]
    status: int

    def send(self, body):
        call = self.world.call
        return call(self.route, self.account, token=self.token, json=body, headers=self.headers)


def calls(world, route):
    """Yield the calls of a route that succeed: with a session and a script's token, with a key."""
    tokens = {
        world.session_token(route, world.ada): world.ada,
        world.session_token(route, world.admin): world.admin,
        world.whole_token: world.ada,
    }
    for (token, account), headers in product(tokens.items(), ({}, {"Idempotency-Key": "key"})):
        if not headers.keys() <= parameters(route):
            continue
        world.restore()
        response = world.call(route, account, token=token, headers=headers)
        if response.status_code < 400:
            yield Call(world, route, account, token, headers, response.status_code)


def parameters(route):
    """Return the names of the parameters that the operation of a route takes."""
    declared = (route.operation or {}).get("parameters", [])
    return {one.get("$ref", "").rpartition("/")[2] for one in declared}


def check_unavailable(response, log):
    body = assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"].isdigit()
    assert any(body["request_id"] in line for line in log), "the log lacks the request id"


def check(call, number, log):
    """Lose the connection before a statement; return whether the route sends so many."""
    call.world.restore()
    body = call.world.body(call.route, call.account)
    log.clear()
    with before_statement(number, lose_connection(call.world.app)) as interruption:
        try:
            response = call.send(body)
        except DBAPIError:
            # The status is sent already, so the error is only in the log.
            assert call.route.path.endswith("/result")
            assert any("A response was cut off. request_id=" in line for line in log)
            return interruption.happened
    if response.status_code != call.status:
        check_unavailable(response, log)
        # Nothing was committed: the same request works now.
        retried = call.send(body)
        assert retried.status_code == call.status, retried.text
    assert call.world.bob.get("/auth/me").status_code == 200
    return interruption.happened


@pytest.mark.parametrize("part", range(PARTS))
def test_f2_connection_lost_before_any_statement_is_503(hooked, world, log, part):
    failures, lost = [], 0
    for route in world.routes()[part::PARTS]:
        for call in calls(world, route):
            for number in range(1, MAX_STATEMENTS):
                try:
                    happened = check(call, number, log)
                except Exception as error:  # noqa: BLE001  # all are reported
                    failures.append((route.name, number, f"{type(error).__name__}: {error}"[:300]))
                    continue
                if not happened:
                    break
                lost += 1
    assert not failures, "\n".join(map(str, failures))
    assert lost > 20


def test_f2_connection_lost_before_a_create_with_email_is_503(hooked, alice, mails, stored, log):
    verify_email(alice, mails)
    assert alice.patch("/auth/me", {"notify_on_create": True}).status_code == 200
    statuses = []
    for number in range(1, MAX_STATEMENTS):
        with before_statement(number, lose_connection(hooked)) as interruption:
            response = alice.post("/tasks", {"title": "Milk"})
        statuses.append(response.status_code)
        if not interruption.happened:
            break
        check_unavailable(response, log)
    assert statuses == [503] * (len(statuses) - 1) + [201]
    assert len(statuses) >= 5
    assert stored(select(func.count(Task.id))) == [(1,)]
