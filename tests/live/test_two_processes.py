"""Two servers that share one database and one Redis."""

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
from app.rate_limiter import RateLimit
from benchmarks.server import Client, Server, new_database
from tests.accounts import PASSWORD
from tests.redis import needs_redis, redis

HIGH_LIMITS = {rule.value: "1000 per minute" for rule in RateLimit}
MAX_WRITES, MAX_LOGINS = 40, 6
LIMITS = {
    "RATELIMIT_ENABLED": "1",
    RateLimit.writes.value: f"{MAX_WRITES} per minute",
    RateLimit.login_account.value: f"{MAX_LOGINS} per 15 minutes",
}

pytestmark = needs_redis


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: object


class UserClient(Client):
    """A client of one of the servers."""

    def request(self, method, path, body=None, **headers):
        raw = None if body is None else orjson.dumps(body)
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, f"/api/v1{path}", raw, self.headers | extra)
        response = self.connection.getresponse()
        text = response.read()
        return Response(response.status, response.headers, orjson.loads(text) if text else None)

    def set_token(self, token):
        self.headers["Authorization"] = f"Bearer {token}"


@pytest.fixture(scope="module")
def servers():
    with ExitStack() as stack:
        instance = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(new_database(os.environ.get("TEST_DATABASE_URL"), instance))
        shared = {"REDIS_URL": stack.enter_context(redis()).url, "PUBLIC_URL": "http://localhost"}
        started = [Server(url, instance, HIGH_LIMITS | LIMITS | shared) for _ in range(2)]
        for server in started:
            server.start()
            stack.callback(server.kill)
        yield started


@pytest.fixture
def tokens(servers):
    """The login response of a new user."""
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    with UserClient(servers[0].port) as client:
        assert client.request("POST", "/auth/register", account).status == 201
        login = {"username": name, "password": PASSWORD}
        return client.request("POST", "/auth/login", login).body


@pytest.fixture
def clients(servers, tokens):
    """The clients of the user, one per server."""
    with UserClient(servers[0].port) as first, UserClient(servers[1].port) as second:
        for client in (first, second):
            client.set_token(tokens["access_token"])
        yield first, second


def assert_error(response, status, code):
    assert (response.status, response.body["code"]) == (status, code)


def test_write_limit_is_shared(clients):
    responses = [
        clients[number % 2].request("POST", "/tasks", {"title": "x"})
        for number in range(MAX_WRITES)
    ]
    remaining = [int(response.headers["X-RateLimit-Remaining"]) for response in responses]
    assert remaining == list(range(MAX_WRITES - 1, -1, -1))
    for client in clients:
        response = client.request("POST", "/tasks", {"title": "x"})
        assert_error(response, 429, "rate_limited")
        assert int(response.headers["Retry-After"]) >= 1
        assert client.request("GET", "/tasks").status == 200


def test_login_limit_is_shared(clients, tokens):
    guess = {"username": tokens["user"]["username"], "password": "wrong, but long"}
    # The user's own login was the first attempt.
    for number in range(MAX_LOGINS - 1):
        response = clients[number % 2].request("POST", "/auth/login", guess)
        assert_error(response, 401, "invalid_credentials")
    for client in clients:
        assert_error(client.request("POST", "/auth/login", guess), 429, "rate_limited")


def test_logout_takes_effect_on_both(clients):
    first, second = clients
    for client in (first, second, first, second):
        assert client.request("GET", "/tasks").status == 200
    assert first.request("POST", "/auth/logout").status == 204
    assert_error(second.request("GET", "/tasks"), 401, "token_revoked")
    assert_error(first.request("GET", "/tasks"), 401, "token_revoked")


def test_deleted_personal_token_is_invalid_on_both(clients):
    first, second = clients
    token = first.request("POST", "/auth/tokens", {"name": "script", "scopes": ["tasks:read"]})
    session = first.headers["Authorization"]
    second.set_token(token.body["token"])
    assert second.request("GET", "/tasks").status == 200
    assert first.request("DELETE", f"/auth/tokens/{token.body['id']}").status == 204
    assert_error(second.request("GET", "/tasks"), 401, "invalid_token")
    assert first.headers["Authorization"] == session
    assert first.request("GET", "/tasks").status == 200


def test_write_is_visible_on_both(clients):
    titles = []
    for number in range(6):
        writer, reader = clients[number % 2], clients[1 - number % 2]
        [etag] = {client.request("GET", "/tasks").headers["ETag"] for client in clients}
        for client in clients:
            assert client.request("GET", "/tasks", If_None_Match=etag).status == 304
        task = writer.request("POST", "/tasks", {"title": f"Task {number}"}).body
        titles.insert(0, task["title"])
        listed = reader.request("GET", "/tasks", If_None_Match=etag)
        assert (listed.status, [task["title"] for task in listed.body["data"]]) == (200, titles)
        path = f"/tasks/{task['id']}"
        assert reader.request("GET", path).body == task

        changed = reader.request("PATCH", path, {"title": f"Changed {number}"})
        assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
        titles[0] = changed.body["title"]
        assert writer.request("GET", path, If_None_Match='"1"').body == changed.body
        listed = writer.request("GET", "/tasks", If_None_Match=listed.headers["ETag"])
        assert (listed.status, [task["title"] for task in listed.body["data"]]) == (200, titles)

    assert clients[0].request("DELETE", path).status == 204
    assert_error(clients[1].request("GET", path), 404, "not_found")
    assert [task["title"] for task in clients[1].request("GET", "/tasks").body["data"]] == titles[
        1:
    ]


def test_idempotency_key_is_replayed_by_the_other(clients):
    first, second = clients
    key = {"Idempotency_Key": "key-1"}
    created = first.request("POST", "/tasks", {"title": "Buy milk"}, **key)
    again = second.request("POST", "/tasks", {"title": "Buy milk"}, **key)
    assert (created.status, again.status, again.body) == (201, 201, created.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = second.request("POST", "/tasks", {"title": "Buy eggs"}, **key)
    assert_error(other, 422, "idempotency_key_reused")
    assert [task["id"] for task in first.request("GET", "/tasks").body["data"]] == [
        created.body["id"]
    ]


def test_idempotency_key_used_on_both_at_once_has_one_effect(clients):
    rounds = 15
    start = Barrier(2)

    def use(client):
        responses = []
        for number in range(rounds):
            start.wait(30)
            task = {"title": f"Task {number}"}
            key = f"both-{number}"
            responses.append(client.request("POST", "/tasks", task, Idempotency_Key=key))
        return responses

    with ThreadPoolExecutor(2) as threads:
        pairs = list(zip(*threads.map(use, clients), strict=True))
    ids = []
    for number, responses in enumerate(pairs):
        created = [response for response in responses if response.status == 201]
        for response in responses:
            if response not in created:
                assert_error(response, 409, "idempotency_in_progress")
        replayed = [response for response in created if "Idempotent-Replayed" in response.headers]
        assert len(created) - len(replayed) == 1
        bodies = {orjson.dumps(response.body) for response in created}
        assert bodies == {orjson.dumps(created[0].body)}
        assert created[0].body["title"] == f"Task {number}"
        ids.append(created[0].body["id"])
    for client in clients:
        assert [task["id"] for task in client.request("GET", "/tasks").body["data"]] == ids[::-1]


def test_reused_refresh_token_is_detected_by_the_other(servers, clients, tokens):
    first, second = clients
    access = first.headers["Authorization"]
    first.set_token(tokens["refresh_token"])
    second.set_token(tokens["refresh_token"])
    assert first.request("POST", "/auth/refresh").status == 200
    # A repeated request is tolerated for 10 seconds; later ones end the session.
    assert second.request("POST", "/auth/refresh").status == 200
    engine = create_engine(database_url(servers[0].database_url))
    with engine.begin() as connection:
        before = datetime.now(UTC) - timedelta(seconds=11)
        connection.execute(update(Session).values(refreshed_at=before, refreshed_before=before))
    engine.dispose()
    assert_error(second.request("POST", "/auth/refresh"), 401, "token_reused")
    first.headers["Authorization"] = access
    assert_error(first.request("GET", "/tasks"), 401, "token_revoked")
