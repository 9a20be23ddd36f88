"""Two API servers on one database and one Redis: what one does, the other knows at once."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import NamedTuple
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import create_engine, update

from app.auth.models import Session
from app.config import database_url
from app.http.limits import Rule
from benchmarks.server import Client, Server, new_database
from tests.accounts import PASSWORD
from tests.redis import needs_redis, redis

LOOSE = {rule.value: "1000 per minute" for rule in Rule}
WRITES, GUESSES = 40, 6
LIMITS = {
    "RATELIMIT_ENABLED": "1",
    Rule.writes.value: f"{WRITES} per minute",
    Rule.login_account.value: f"{GUESSES} per 15 minutes",
}

pytestmark = needs_redis


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: object


class Side(Client):
    """One account's client at one of the servers."""

    def ask(self, method, path, body=None, **headers):
        raw = None if body is None else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, f"/api/v1{path}", raw, self.headers | named)
        response = self.connection.getresponse()
        text = response.read()
        return Answer(response.status, response.headers, orjson.loads(text) if text else None)

    def bear(self, token):
        self.headers["Authorization"] = f"Bearer {token}"


@pytest.fixture(scope="module")
def servers():
    with ExitStack() as stack:
        instance = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(new_database(os.environ.get("TEST_DATABASE_URL"), instance))
        shared = {"REDIS_URL": stack.enter_context(redis()).url, "PUBLIC_URL": "http://localhost"}
        started = [Server(url, instance, LOOSE | LIMITS | shared) for _ in range(2)]
        for server in started:
            server.start()
            stack.callback(server.kill)
        yield started


@pytest.fixture
def tokens(servers):
    """A new account's name and tokens."""
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    with Side(servers[0].port) as client:
        assert client.ask("POST", "/auth/register", account).status == 201
        login = {"username": name, "password": PASSWORD}
        return client.ask("POST", "/auth/login", login).body


@pytest.fixture
def sides(servers, tokens):
    """The account's clients, one at each server."""
    with Side(servers[0].port) as first, Side(servers[1].port) as second:
        for side in (first, second):
            side.bear(tokens["access_token"])
        yield first, second


def assert_refused(answer, status, code):
    assert (answer.status, answer.body["code"]) == (status, code)


def test_what_a_user_may_write_is_counted_across_both(sides):
    told = [
        sides[number % 2].ask("POST", "/tasks", {"title": "x"}).headers for number in range(WRITES)
    ]
    left = [int(headers["X-RateLimit-Remaining"]) for headers in told]
    assert left == list(range(WRITES - 1, -1, -1))
    for side in sides:
        refused = side.ask("POST", "/tasks", {"title": "x"})
        assert_refused(refused, 429, "rate_limited")
        assert int(refused.headers["Retry-After"]) >= 1
        assert side.ask("GET", "/tasks").status == 200


def test_guesses_of_a_password_are_counted_across_both(sides, tokens):
    guess = {"username": tokens["user"]["username"], "password": "wrong, but long"}
    # The account's own login was the first.
    for number in range(GUESSES - 1):
        answer = sides[number % 2].ask("POST", "/auth/login", guess)
        assert_refused(answer, 401, "invalid_credentials")
    for side in sides:
        assert_refused(side.ask("POST", "/auth/login", guess), 429, "rate_limited")


def test_a_session_that_ends_at_one_is_over_at_the_other_at_once(sides):
    first, second = sides
    for side in (first, second, first, second):
        assert side.ask("GET", "/tasks").status == 200
    assert first.ask("POST", "/auth/logout").status == 204
    assert_refused(second.ask("GET", "/tasks"), 401, "token_revoked")
    assert_refused(first.ask("GET", "/tasks"), 401, "token_revoked")


def test_a_personal_token_that_is_deleted_at_one_is_unknown_to_the_other_at_once(sides):
    first, second = sides
    told = first.ask("POST", "/auth/tokens", {"name": "script", "scopes": ["tasks:read"]})
    session = first.headers["Authorization"]
    second.bear(told.body["token"])
    assert second.ask("GET", "/tasks").status == 200
    assert first.ask("DELETE", f"/auth/tokens/{told.body['id']}").status == 204
    assert_refused(second.ask("GET", "/tasks"), 401, "invalid_token")
    assert first.headers["Authorization"] == session
    assert first.ask("GET", "/tasks").status == 200


def test_what_is_written_at_one_is_read_at_the_other_at_once_though_both_had_remembered(sides):
    titles = []
    for number in range(6):
        writer, reader = sides[number % 2], sides[1 - number % 2]
        tags = {side.ask("GET", "/tasks").headers["ETag"] for side in sides}
        assert len(tags) == 1  # of one state there is one list, whoever tells it
        tag = tags.pop()
        for side in sides:
            assert side.ask("GET", "/tasks", If_None_Match=tag).status == 304
        task = writer.ask("POST", "/tasks", {"title": f"Task {number}"}).body
        titles.insert(0, task["title"])
        listed = reader.ask("GET", "/tasks", If_None_Match=tag)
        assert (listed.status, [one["title"] for one in listed.body["data"]]) == (200, titles)
        path = f"/tasks/{task['id']}"
        assert reader.ask("GET", path).body == task

        changed = reader.ask("PATCH", path, {"title": f"Changed {number}"})
        assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
        titles[0] = changed.body["title"]
        assert writer.ask("GET", path, If_None_Match='"1"').body == changed.body
        listed = writer.ask("GET", "/tasks", If_None_Match=listed.headers["ETag"])
        assert (listed.status, [one["title"] for one in listed.body["data"]]) == (200, titles)

    assert sides[0].ask("DELETE", path).status == 204
    assert_refused(sides[1].ask("GET", path), 404, "not_found")
    assert [one["title"] for one in sides[1].ask("GET", "/tasks").body["data"]] == titles[1:]


def test_a_key_that_was_used_at_one_is_replayed_by_the_other(sides):
    first, second = sides
    key = {"Idempotency_Key": "key-1"}
    made = first.ask("POST", "/tasks", {"title": "Buy milk"}, **key)
    again = second.ask("POST", "/tasks", {"title": "Buy milk"}, **key)
    assert (made.status, again.status, again.body) == (201, 201, made.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = second.ask("POST", "/tasks", {"title": "Buy eggs"}, **key)
    assert_refused(other, 422, "idempotency_key_reused")
    assert [one["id"] for one in first.ask("GET", "/tasks").body["data"]] == [made.body["id"]]


def test_a_key_that_is_used_at_both_at_once_has_one_effect(sides):
    turns = 15
    start = Barrier(2)

    def use(side):
        answers = []
        for number in range(turns):
            start.wait(30)
            task = {"title": f"Task {number}"}
            answers.append(side.ask("POST", "/tasks", task, Idempotency_Key=f"both-{number}"))
        return answers

    with ThreadPoolExecutor(2) as threads:
        told = list(zip(*threads.map(use, sides), strict=True))
    made = []
    for number, answers in enumerate(told):
        done = [answer for answer in answers if answer.status == 201]
        for answer in answers:
            if answer not in done:
                assert_refused(answer, 409, "idempotency_in_progress")
        replayed = [answer for answer in done if "Idempotent-Replayed" in answer.headers]
        assert len(done) - len(replayed) == 1
        assert {orjson.dumps(answer.body) for answer in done} == {orjson.dumps(done[0].body)}
        assert done[0].body["title"] == f"Task {number}"
        made.append(done[0].body["id"])
    for side in sides:
        assert [one["id"] for one in side.ask("GET", "/tasks").body["data"]] == made[::-1]


def test_a_refresh_token_that_was_spent_at_one_is_known_to_the_other(servers, sides, tokens):
    first, second = sides
    access = first.headers["Authorization"]
    first.bear(tokens["refresh_token"])
    second.bear(tokens["refresh_token"])
    assert first.ask("POST", "/auth/refresh").status == 200
    # Whoever lost that answer may ask again, for 10 s; then it was stolen, and ends the session.
    assert second.ask("POST", "/auth/refresh").status == 200
    engine = create_engine(database_url(servers[0].database_url))
    with engine.begin() as connection:
        before = datetime.now(UTC) - timedelta(seconds=11)
        connection.execute(update(Session).values(refreshed_at=before, refreshed_before=before))
    engine.dispose()
    assert_refused(second.ask("POST", "/auth/refresh"), 401, "token_reused")
    first.headers["Authorization"] = access
    assert_refused(first.ask("GET", "/tasks"), 401, "token_revoked")
