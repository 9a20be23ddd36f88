"""H: HTTP as its RFCs have it, on every route that there is."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from sqlalchemy import func, select

from app.errors import Conflict
from app.extensions import db
from app.http.idempotency import Claim
from app.http.models import KeptAnswer
from app.http.openapi import PROBLEM_JSON
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.contract import Contract, ContractClient
from tests.lists import BOTH_WAYS, in_order, make_tasks, walk
from tests.problems import assert_problem
from tests.security.calls import GIVES_SECRETS

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
    """Every path of the application, with the methods that it takes."""
    found = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<token_id:\w+>", "0" * 32, re.sub(r"<(row_id:)?\w+>", "1", rule.rule))
        found.setdefault(path, set()).update(rule.methods)
    assert len(found) >= 30
    return found


def allowed(answer):
    [header] = answer.headers.getlist("Allow")
    return set(header.split(", "))


def test_h2_any_other_method_of_any_path_is_not_allowed_and_told_which_are(client, paths):
    for path, methods in paths.items():
        for method in (METHODS | {"TRACE", "CONNECT", "BREW"}) - methods:
            answer = client.open(path, method=method)
            assert (answer.status_code, method, path) == (405, method, path)
            if method != "HEAD":
                assert_problem(answer, 405, "method_not_allowed")
            assert allowed(answer) == methods


def test_h3_options_of_any_path_tells_which_methods_there_are(client, paths):
    for path, methods in paths.items():
        answer = client.options(path)
        assert (answer.status_code, answer.data) == (200, b"")
        assert allowed(answer) == methods


def test_h3_head_of_any_path_has_the_headers_of_get_and_no_body(world):
    routes = [route for route in world.routes() if route.method == "GET"]
    assert len(routes) >= 15
    for route in routes:
        token = world.session_token(route, world.admin)
        path, headers = world.address(route), ID | {"Authorization": f"Bearer {token}"}
        before = world.admin.client.get(path, headers=headers)
        head = world.admin.client.head(path, headers=headers)
        after = world.admin.client.get(path, headers=headers)
        assert (head.status_code, head.data) == (before.status_code, b""), route.name
        # What tells of itself grows as it is asked for.
        lengths = [int(answer.headers.pop("Content-Length")) for answer in (before, head, after)]
        assert lengths == sorted(lengths), route.name
        assert (lengths[0], lengths[2]) == (len(before.data), len(after.data)), route.name
        assert dict(head.headers) == dict(before.headers), route.name


def test_h4_the_location_of_any_201_answers_what_was_made_with_its_tag(world):
    seen = 0
    for route in world.routes():
        if "201" not in (route.operation or {}).get("responses", {}):
            continue
        made = world.call(route, world.ada, token=world.ada.access_token)
        assert made.status_code == 201, route.name
        account = world.ada
        if route.name.endswith("/register"):
            account = world.ada.again()
            login = {"username": made.json["username"], "password": PASSWORD}
            account.access_token = account.client.post("/api/v1/auth/login", json=login).json[
                "access_token"
            ]
        public = world.app.config["PUBLIC_URL"]
        read = account.get(made.headers["Location"].removeprefix(f"{public}/api/v1"))
        assert read.status_code == 200, route.name
        shared = read.json.keys() & made.json.keys()
        assert {name: made.json[name] for name in shared} == {n: read.json[n] for n in shared}
        # A secret is shown once.
        assert shared == read.json.keys() or route.name in GIVES_SECRETS, route.name
        assert made.headers.get("ETag") == read.headers.get("ETag")
        assert made.headers["Location"] == made.json.get("url", made.headers["Location"])
        seen += 1
    assert seen >= 3


def test_h4_what_is_deleted_answers_204_and_then_404(world):
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


def tagged(world):
    """Every route whose answer has a tag, with that answer to its owner, and its path."""
    for route in world.routes():
        answers = (route.operation or {}).get("responses", {})
        if route.method == "GET" and "304" in answers:
            account = world.admin if "/users" in route.path else world.ada
            yield account, world.address(route).removeprefix("/api/v1")


@pytest.mark.parametrize("held", ["{tag}", "W/{tag}", '"0", {tag}', '"0",W/{tag} , "x"', "*"])
def test_h5_who_has_it_is_answered_304_without_a_body_on_any_route(world, held):
    seen = 0
    for account, path in tagged(world):
        got = account.get(path)
        assert got.status_code == 200
        tag = got.headers["ETag"]
        answer = account.get(path, headers={"If-None-Match": held.format(tag=tag)})
        assert (answer.status_code, answer.data, path) == (304, b"", path)
        assert answer.headers["ETag"] == tag
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in answer.headers["Vary"]
        other = account.get(path, headers={"If-None-Match": f'"x{tag[1:]}'})
        assert (other.status_code, other.json if other.is_json else None) == (
            200,
            got.json if got.is_json else None,
        )
        seen += 1
    assert seen >= 6


@pytest.mark.parametrize("empty", [False, True])
def test_h5_another_accounts_tag_never_gives_a_304(world, empty):
    if empty:
        for account in (world.ada, world.bob):
            account.delete(f"/tasks/{world.tasks[account.id]['id']}")
    seen = 0
    for account, path in tagged(world):
        got = account.get(path)
        if "openapi" not in path and got.status_code == 200:
            plain = world.bob.get(path, headers=ID)
            assert plain.status_code in {200, 403, 404}, path
            answer = world.bob.get(path, headers=ID | {"If-None-Match": got.headers["ETag"]})
            assert (answer.status_code, answer.data) == (plain.status_code, plain.data), path
            seen += 1
    assert seen >= 4


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_h6_a_write_on_another_version_is_refused_and_changes_nothing(
    alice, stored, method, path, body
):
    task = alice.task()
    columns = (Task.title, Task.status, Task.version)
    for held in ('"2"', 'W/"1"', '"2", "3"', '"abc"', '"01"', '""'):
        headers = {"If-Match": held}
        answer = alice.call(method, f"/tasks/{task['id']}{path}", json=body, headers=headers)
        assert_problem(answer, 412, "stale_version")
        assert answer.headers["ETag"] == '"1"'
    assert stored(select(*columns)) == [("Buy milk", "pending", 1)]


@pytest.mark.parametrize(("method", "path", "body"), WRITES[:3])
def test_h6_of_20_writers_with_one_version_one_wins_and_nineteen_are_stale(
    alice, at_once, stored, method, path, body
):
    task = alice.task()
    write = (method, f"/tasks/{task['id']}{path}", body, {"If-Match": '"1"'})
    answers = at_once(alice, [write] * CROWD)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (CROWD - 1)
    [won] = [answer for answer in answers if answer.status_code == 200]
    assert stored(select(Task.title, Task.status, Task.version)) == [
        (won.json["title"], won.json["status"], 2)
    ]


def keyed(world):
    """Every route that takes a key."""
    found = []
    for route in world.routes():
        told = [one.get("$ref", "") for one in (route.operation or {}).get("parameters", [])]
        if any(name.endswith("/Idempotency-Key") for name in told):
            found.append(route)
    assert len(found) >= 2
    return found


def test_h7_a_retry_of_any_keyed_call_gets_the_first_answer_and_has_no_second_effect(world):
    for route in keyed(world):
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
        other = world.call(route, world.ada, token=token, json=body | {"x": 1}, headers=KEY)
        assert_problem(other, 422, "idempotency_key_reused")
        assert world.stored() == stored


def test_h7_keys_belong_to_one_account(alice, bob, stored):
    alice.post("/tasks", {"title": "Alice's"}, headers=KEY)
    answer = bob.post("/tasks", {"title": "Bob's"}, headers=KEY)
    assert answer.json["title"] == "Bob's"
    assert sorted(stored(select(Task.title))) == [("Alice's",), ("Bob's",)]
    assert stored(select(func.count()).select_from(KeptAnswer)) == [(2,)]


def test_h7_a_second_request_while_the_first_runs_is_told_so_or_waits_for_it(alice, app, stored):
    """PostgreSQL tells it; SQLite's writers wait for one another."""
    with app.app_context():
        on_sqlite = db.engine.dialect.name == "sqlite"
        Claim(alice.id, KEY["Idempotency-Key"], b"").begin()
        # In a thread of its own, or the request would share this session.
        with ThreadPoolExecutor(1) as pool:
            body = {"title": "Buy milk"}
            answer = pool.submit(alice.post, "/tasks", body, headers=KEY).result()
        db.session.rollback()
    if not on_sqlite:
        assert_problem(answer, 409, "idempotency_in_progress")
        assert stored(select(Task.id)) == []
    assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201
    assert stored(select(Task.title)) == [("Buy milk",)]


def test_h7_50_requests_with_one_key_make_one_row_and_equal_answers(alice, at_once, stored):
    answers = at_once(alice, [("POST", "/tasks", {"title": "Buy milk"}, KEY)] * 50)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.data for answer in answers if answer.status_code == 201}) == 1
    codes = {answer.json["code"] for answer in answers if answer.status_code == 409}
    assert codes <= {"idempotency_in_progress"}
    assert stored(select(Task.title)) == [("Buy milk",)]


@pytest.mark.parametrize("sort", BOTH_WAYS)
def test_h8_what_was_there_throughout_is_seen_once_whatever_comes_and_goes(alice, sort):
    for limit in (1, 3):
        tasks = make_tasks(alice)
        doomed = {task["id"] for task in tasks[::3]}
        remaining = sorted(doomed)

        def disturb(rows, remaining=remaining):
            if len(rows) < 20:
                make_tasks(alice, 2)
            if rows and rows[-1]["id"] in remaining:
                remaining.remove(rows[-1]["id"])
                alice.delete(f"/tasks/{rows[-1]['id']}")
            elif remaining:
                alice.delete(f"/tasks/{remaining.pop()}")

        seen = [task["id"] for task in walk(alice, sort, limit, disturb)]
        assert len(seen) == len(set(seen))
        throughout = [task for task in tasks if task["id"] not in doomed]
        expected = [task["id"] for task in in_order(throughout, sort)]
        assert [task_id for task_id in seen if task_id in expected] == expected
        for task in alice.get("/tasks?limit=200").json["data"]:
            alice.delete(f"/tasks/{task['id']}")


LYING_HEADERS = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8443"},
    {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    {"X-Forwarded-Prefix": "/evil.example", "X-Script-Name": "/evil.example"},
    {"Forwarded": "host=evil.example;proto=https"},
    {"X-Original-URL": "/evil.example", "X-Rewrite-URL": "/evil.example"},
]


def test_h10_addresses_are_those_of_the_public_url_whatever_a_client_says(app, alice, client):
    public = app.config["PUBLIC_URL"]
    for number, headers in enumerate(LYING_HEADERS):
        made = alice.call("POST", "/tasks", json={"title": "Buy milk"}, headers=headers)
        assert made.headers["Location"] == made.json["url"]
        assert made.json["url"] == f"{public}/api/v1/tasks/{made.json['id']}"
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
        for answer in (made, listed, registered, problem, document):
            assert "evil.example" not in f"{answer.headers}{answer.text}"


class TestDocument:
    """Every answer in these tests is judged by the document; one that it does not foresee fails."""

    ME = "/api/v1/auth/me"

    @pytest.fixture
    def lying(self, migrated_app) -> ContractClient:
        """A client of routes that the document knows, and that answer as each test likes."""
        app = Flask(__name__)
        contract = Contract(migrated_app)
        app.extensions["contract"] = contract
        [told] = [told for pattern, told in contract.paths if pattern.fullmatch(self.ME)]
        self.body = told["get"]["responses"]["200"]["content"]["application/json"]["example"]
        self.answer: Any = None
        for path in (self.ME, "/api/v1/nowhere"):
            app.add_url_rule(path, path, lambda: self.answer, methods=["GET", "PATCH"])
        return ContractClient(app)

    def headers(self, **more: str) -> dict[str, str]:
        return {"X-Request-ID": "x", "Content-Type": "application/json"} | more

    def test_h12_an_answer_as_the_document_says_passes(self, lying):
        self.answer = (self.body, 200, self.headers())
        answer = lying.get(self.ME)
        assert (answer.status_code, answer.json) == (200, self.body)

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
    def test_h12_another_status_member_header_or_type_fails(self, lying, status, changes, headers):
        self.answer = (self.body | changes, status, self.headers(**headers))
        with pytest.raises((AssertionError, jsonschema_rs.ValidationError)):
            lying.get(self.ME)

    def test_h12_a_member_too_few_fails(self, lying):
        body = {name: value for name, value in self.body.items() if name != "role"}
        self.answer = (body, 200, self.headers())
        with pytest.raises(jsonschema_rs.ValidationError):
            lying.get(self.ME)

    def test_h12_a_code_that_is_not_told_fails(self, lying, migrated_app):
        with migrated_app.app_context():
            body = Conflict().body() | {"instance": self.ME, "request_id": "x"}
        headers = self.headers(**{"Content-Type": PROBLEM_JSON})
        for code, status in (("conflict", 200), ("stale_version", 409)):
            self.answer = (body | {"code": code}, status, headers)
            with pytest.raises(AssertionError):
                lying.patch(self.ME)
        self.answer = (body, 409, headers)
        assert lying.patch(self.ME).status_code == 409

    def test_h12_a_path_that_is_not_told_fails(self, lying):
        self.answer = (self.body, 200, self.headers())
        with pytest.raises(AssertionError):
            lying.get("/api/v1/nowhere")

    def test_h12_every_client_of_these_tests_is_one_that_judges(self, app, client):
        assert isinstance(app.test_client(), ContractClient)
        assert isinstance(client, ContractClient)
