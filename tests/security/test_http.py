"""Checks H2 to H12: HTTP semantics on every route."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from sqlalchemy import func, select

from app.api.idempotency import IdempotentRequest
from app.api.models import IdempotencyRecord
from app.api.openapi import PROBLEM_JSON
from app.errors import Conflict
from app.extensions import db
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.contract import Contract, ContractClient
from tests.lists import BOTH_WAYS, in_order, make_tasks, walk
from tests.problems import assert_problem
from tests.security.calls import RETURNS_SECRETS

CROWD = 20
ID = {"X-Request-ID": "same"}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
KEY = {"Idempotency-Key": "order-1"}
WRITES = [
    ("PATCH", "", {"title": "New"}),
    ("PUT", "", {"title": "New", "status": "pending"}),
    ("PUT", "/status", {"status": "completed"}),
    ("DELETE", "", None),
]


@pytest.fixture
def paths(app):
    """Every path of the application, with its methods."""
    paths = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<token_id:\w+>", "0" * 32, re.sub(r"<(row_id:)?\w+>", "1", rule.rule))
        paths.setdefault(path, set()).update(rule.methods)
    assert len(paths) >= 30
    return paths


def allowed(response):
    [header] = response.headers.getlist("Allow")
    return set(header.split(", "))


def test_h2_other_methods_are_405_with_allow(client, paths):
    for path, methods in paths.items():
        for method in (METHODS | {"TRACE", "CONNECT", "BREW"}) - methods:
            response = client.open(path, method=method)
            assert (response.status_code, method, path) == (405, method, path)
            if method != "HEAD":
                assert_problem(response, 405, "method_not_allowed")
            assert allowed(response) == methods


def test_h3_options_lists_the_methods(client, paths):
    for path, methods in paths.items():
        response = client.options(path)
        assert (response.status_code, response.data) == (200, b"")
        assert allowed(response) == methods


def test_h3_head_has_the_headers_of_get_and_no_body(world):
    routes = [route for route in world.routes() if route.method == "GET"]
    assert len(routes) >= 15
    for route in routes:
        token = world.session_token(route, world.admin)
        path, headers = world.path(route), ID | {"Authorization": f"Bearer {token}"}
        before = world.admin.client.get(path, headers=headers)
        head = world.admin.client.head(path, headers=headers)
        after = world.admin.client.get(path, headers=headers)
        assert (head.status_code, head.data) == (before.status_code, b""), route.name
        # The audit log and metrics grow with each request.
        lengths = [
            int(response.headers.pop("Content-Length")) for response in (before, head, after)
        ]
        assert lengths == sorted(lengths), route.name
        assert (lengths[0], lengths[2]) == (len(before.data), len(after.data)), route.name
        assert dict(head.headers) == dict(before.headers), route.name


def test_h4_location_returns_the_created_resource_and_etag(world):
    checked = 0
    for route in world.routes():
        if "201" not in (route.operation or {}).get("responses", {}):
            continue
        created = world.call(route, world.ada, token=world.ada.access_token)
        assert created.status_code == 201, route.name
        account = world.ada
        if route.name.endswith("/register"):
            account = world.ada.with_new_client()
            login = {"username": created.json["username"], "password": PASSWORD}
            account.access_token = account.client.post("/api/v1/auth/login", json=login).json[
                "access_token"
            ]
        public = world.app.config["PUBLIC_URL"]
        read = account.get(created.headers["Location"].removeprefix(f"{public}/api/v1"))
        assert read.status_code == 200, route.name
        shared = read.json.keys() & created.json.keys()
        assert {name: created.json[name] for name in shared} == {n: read.json[n] for n in shared}
        # A secret is shown once.
        assert shared == read.json.keys() or route.name in RETURNS_SECRETS, route.name
        assert created.headers.get("ETag") == read.headers.get("ETag")
        assert created.headers["Location"] == created.json.get("url", created.headers["Location"])
        checked += 1
    assert checked >= 3


def test_h4_delete_is_204_then_404(world):
    deletes = [route for route in world.routes() if route.method == "DELETE" and route.ids]
    assert len(deletes) >= 4
    for route in deletes:
        world.restore()
        account = world.admin if "/users/" in route.path else world.ada
        first = world.call(route, account, token=account.access_token)
        assert (first.status_code, first.data, route.name) == (204, b"", route.name)
        again = world.call(route, account, token=account.access_token)
        assert_problem(again, 404, "not_found")
        readers = [one for one in world.routes() if (one.method, one.path) == ("GET", route.path)]
        for reader in readers:
            read = world.call(reader, account, token=account.access_token)
            assert_problem(read, 404, "not_found")


def paths_with_etag(world):
    """Yield the path of every route whose response has an ETag, with a user who may read it."""
    for route in world.routes():
        responses = (route.operation or {}).get("responses", {})
        if route.method == "GET" and "304" in responses:
            account = world.admin if "/users" in route.path else world.ada
            yield account, world.path(route).removeprefix("/api/v1")


@pytest.mark.parametrize(
    "if_none_match", ["{tag}", "W/{tag}", '"0", {tag}', '"0",W/{tag} , "x"', "*"]
)
def test_h5_matching_etag_is_304_without_a_body(world, if_none_match):
    checked = 0
    for account, path in paths_with_etag(world):
        got = account.get(path)
        assert got.status_code == 200
        tag = got.headers["ETag"]
        response = account.get(path, headers={"If-None-Match": if_none_match.format(tag=tag)})
        assert (response.status_code, response.data, path) == (304, b"", path)
        assert response.headers["ETag"] == tag
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in response.headers["Vary"]
        other = account.get(path, headers={"If-None-Match": f'"x{tag[1:]}'})
        assert (other.status_code, other.json if other.is_json else None) == (
            200,
            got.json if got.is_json else None,
        )
        checked += 1
    assert checked >= 6


@pytest.mark.parametrize("empty", [False, True])
def test_h5_another_users_etag_never_gives_304(world, empty):
    if empty:
        for account in (world.ada, world.bob):
            account.delete(f"/tasks/{world.tasks[account.id]['id']}")
    checked = 0
    for account, path in paths_with_etag(world):
        got = account.get(path)
        if "openapi" not in path and got.status_code == 200:
            plain = world.bob.get(path, headers=ID)
            assert plain.status_code in {200, 403, 404}, path
            response = world.bob.get(path, headers=ID | {"If-None-Match": got.headers["ETag"]})
            assert (response.status_code, response.data) == (plain.status_code, plain.data), path
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_h6_stale_if_match_is_412_without_effect(alice, stored, method, path, body):
    task = alice.task()
    columns = (Task.title, Task.status, Task.version)
    for if_match in ('"2"', 'W/"1"', '"2", "3"', '"abc"', '"01"', '""'):
        headers = {"If-Match": if_match}
        response = alice.call(method, f"/tasks/{task['id']}{path}", json=body, headers=headers)
        assert_problem(response, 412, "stale_version")
        assert response.headers["ETag"] == '"1"'
    assert stored(select(*columns)) == [("Buy milk", "pending", 1)]


@pytest.mark.parametrize(("method", "path", "body"), WRITES[:3])
def test_h6_one_of_20_concurrent_writers_wins(alice, run_parallel, stored, method, path, body):
    task = alice.task()
    write = (method, f"/tasks/{task['id']}{path}", body, {"If-Match": '"1"'})
    responses = run_parallel(alice, [write] * CROWD)
    assert sorted(response.status_code for response in responses) == [200] + [412] * (CROWD - 1)
    [winner] = [response for response in responses if response.status_code == 200]
    assert stored(select(Task.title, Task.status, Task.version)) == [
        (winner.json["title"], winner.json["status"], 2)
    ]


def idempotent_routes(world):
    """Return every route that accepts an Idempotency-Key."""
    routes = []
    for route in world.routes():
        parameters = (route.operation or {}).get("parameters", [])
        if any(one.get("$ref", "").endswith("/Idempotency-Key") for one in parameters):
            routes.append(route)
    assert len(routes) >= 2
    return routes


def test_h7_retry_with_a_key_replays_the_first_response(world):
    for route in idempotent_routes(world):
        world.restore()
        body = world.body(route, world.ada)
        token = world.ada.access_token
        first = world.call(route, world.ada, token=token, json=body, headers=KEY)
        assert first.status_code < 300, first.text
        stored = world.stored()
        again = world.call(route, world.ada, token=token, json=body, headers=KEY)
        assert (again.status_code, again.data) == (first.status_code, first.data)
        for name in ("Content-Type", "ETag", "Location"):
            assert again.headers.get(name) == first.headers.get(name)
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        changed = {"data": json.dumps(body, indent=1), "content_type": "application/json"}
        other = world.call(route, world.ada, token=token, headers=KEY, **changed)
        assert_problem(other, 422, "idempotency_key_reused")
        assert world.stored() == stored


def test_h7_keys_belong_to_one_user(alice, bob, stored):
    alice.post("/tasks", {"title": "Alice's"}, headers=KEY)
    response = bob.post("/tasks", {"title": "Bob's"}, headers=KEY)
    assert response.json["title"] == "Bob's"
    assert sorted(stored(select(Task.title))) == [("Alice's",), ("Bob's",)]
    assert stored(select(func.count()).select_from(IdempotencyRecord)) == [(2,)]


def test_h7_second_request_in_flight_is_409_or_waits(alice, app, stored):
    """PostgreSQL responds 409; on SQLite the second writer waits."""
    with app.app_context():
        on_sqlite = db.engine.dialect.name == "sqlite"
        IdempotentRequest(alice.id, KEY["Idempotency-Key"], b"").lock()
        # In another thread, because the request would use this session otherwise.
        with ThreadPoolExecutor(1) as pool:
            body = {"title": "Buy milk"}
            response = pool.submit(alice.post, "/tasks", body, headers=KEY).result()
        db.session.rollback()
    if not on_sqlite:
        assert_problem(response, 409, "idempotency_in_progress")
        assert stored(select(Task.id)) == []
    assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201
    assert stored(select(Task.title)) == [("Buy milk",)]


def test_h7_50_requests_with_one_key_create_one_row(alice, run_parallel, stored):
    responses = run_parallel(alice, [("POST", "/tasks", {"title": "Buy milk"}, KEY)] * 50)
    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.data for response in responses if response.status_code == 201}) == 1
    codes = {response.json["code"] for response in responses if response.status_code == 409}
    assert codes <= {"idempotency_in_progress"}
    assert stored(select(Task.title)) == [("Buy milk",)]


@pytest.mark.parametrize("sort", BOTH_WAYS)
def test_h8_pages_list_every_remaining_row_once_during_changes(alice, sort):
    for limit in (1, 3):
        tasks = make_tasks(alice)
        deleted = {task["id"] for task in tasks[::3]}
        remaining = sorted(deleted)

        def disturb(rows, remaining=remaining):
            if len(rows) < 20:
                make_tasks(alice, 2)
            if rows and rows[-1]["id"] in remaining:
                remaining.remove(rows[-1]["id"])
                alice.delete(f"/tasks/{rows[-1]['id']}")
            elif remaining:
                alice.delete(f"/tasks/{remaining.pop()}")

        listed = [task["id"] for task in walk(alice, sort, limit, disturb)]
        assert len(listed) == len(set(listed))
        throughout = [task for task in tasks if task["id"] not in deleted]
        expected = [task["id"] for task in in_order(throughout, sort)]
        assert [task_id for task_id in listed if task_id in expected] == expected
        for task in alice.get("/tasks?limit=200").json["data"]:
            alice.delete(f"/tasks/{task['id']}")


FORGED_HEADERS = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8443"},
    {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    {"X-Forwarded-Prefix": "/evil.example", "X-Script-Name": "/evil.example"},
    {"Forwarded": "host=evil.example;proto=https"},
    {"X-Original-URL": "/evil.example", "X-Rewrite-URL": "/evil.example"},
]


def test_h10_links_start_with_the_public_url(app, alice, client):
    public = app.config["PUBLIC_URL"]
    for number, headers in enumerate(FORGED_HEADERS):
        created = alice.call("POST", "/tasks", json={"title": "Buy milk"}, headers=headers)
        assert created.headers["Location"] == created.json["url"]
        assert created.json["url"] == f"{public}/api/v1/tasks/{created.json['id']}"
        alice.task()
        listed = alice.get("/tasks?limit=1", headers=headers)
        assert listed.headers["Link"].startswith(f"<{public}/api/v1/tasks?")
        account = {
            "username": f"bob{number}",
            "email": f"bob{number}@example.com",
            "password": PASSWORD,
        }
        registered = client.post("/api/v1/auth/register", json=account, headers=headers)
        assert registered.headers["Location"] == f"{public}/api/v1/auth/me"
        problem = client.get("/nothing", headers=headers)
        assert problem.json["type"] == f"{public}/problems/not_found"
        document = client.get("/api/v1/openapi.json", headers=headers)
        assert document.json["servers"] == [{"url": public}]
        for response in (created, listed, registered, problem, document):
            assert "evil.example" not in f"{response.headers}{response.text}"


class TestDocument:
    """The test client rejects responses that the OpenAPI document does not declare."""

    ME = "/api/v1/auth/me"

    @pytest.fixture
    def fake_client(self, migrated_app) -> ContractClient:
        """A client of documented routes that return what a test sets."""
        app = Flask(__name__)
        contract = Contract(migrated_app)
        app.extensions["contract"] = contract
        [path_item] = [item for pattern, item in contract.paths if pattern.fullmatch(self.ME)]
        self.body = path_item["get"]["responses"]["200"]["content"]["application/json"]["example"]
        self.response: Any = None
        for path in (self.ME, "/api/v1/nowhere"):
            app.add_url_rule(path, path, lambda: self.response, methods=["GET", "PATCH"])
        return ContractClient(app)

    def headers(self, **more: str) -> dict[str, str]:
        return {"X-Request-ID": "x", "Content-Type": "application/json"} | more

    def test_h12_documented_response_passes(self, fake_client):
        self.response = (self.body, 200, self.headers())
        response = fake_client.get(self.ME)
        assert (response.status_code, response.json) == (200, self.body)

    @pytest.mark.parametrize(
        ("status", "changes", "headers"),
        [
            (202, {}, {}),
            (201, {}, {}),
            (418, {}, {"Content-Type": PROBLEM_JSON}),
            (200, {"secret": 1}, {}),
            (200, {"id": "1"}, {}),
            (200, {"created_at": "yesterday"}, {}),
            (200, {"email": None}, {}),
            (200, {}, {"X-New": "1"}),
            (200, {}, {"ETag": '"1"'}),
            (200, {}, {"Content-Type": "text/html"}),
        ],
    )
    def test_h12_undocumented_status_member_header_or_type_fails(
        self, fake_client, status, changes, headers
    ):
        self.response = (self.body | changes, status, self.headers(**headers))
        with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
            fake_client.get(self.ME)

    def test_h12_missing_member_fails(self, fake_client):
        body = {name: value for name, value in self.body.items() if name != "role"}
        self.response = (body, 200, self.headers())
        with pytest.raises(jsonschema_rs.ValidationError):
            fake_client.get(self.ME)

    def test_h12_undocumented_problem_code_fails(self, fake_client):
        body = Conflict().to_dict("http://localhost") | {"instance": self.ME, "request_id": "x"}
        headers = self.headers(**{"Content-Type": PROBLEM_JSON})
        for code, status in (("conflict", 200), ("stale_version", 409)):
            self.response = (body | {"code": code}, status, headers)
            with pytest.raises(AssertionError):
                fake_client.patch(self.ME)
        self.response = (body, 409, headers)
        assert fake_client.patch(self.ME).status_code == 409

    def test_h12_undocumented_path_fails(self, fake_client):
        self.response = (self.body, 200, self.headers())
        with pytest.raises(AssertionError):
            fake_client.get("/api/v1/nowhere")

    def test_h12_every_test_client_checks_the_contract(self, app, client):
        assert isinstance(app.test_client(), ContractClient)
        assert isinstance(client, ContractClient)
