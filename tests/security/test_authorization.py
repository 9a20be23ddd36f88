"""Checks Z1 to Z8: authorization on every route (OWASP API Security Top 10, 1 to 5)."""

import base64
import json
import re

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem
from tests.security.calls import (
    METHODS,
    PUBLIC,
    RETURNS_SECRETS,
    Route,
    impossible_ids,
    unknown_ids,
)

UNKNOWN = 2**62
JSON = "application/json"
BAD_REQUESTS = [
    {"json": None},
    {"json": {"no": "such field"}},
    {"data": "{", "content_type": JSON},
    {"data": b"\xff", "content_type": JSON},
    {"data": "x=1", "content_type": "text/plain"},
    {"data": "x" * 2_000_000, "content_type": JSON},
    {"json": None, "query_string": {"limit": "x", "no": "such"}},
    {"json": None, "headers": {"Accept": "text/html", "If-Match": "x"}},
]
READ_ONLY = {
    "id": 7,
    "owner_id": 1,
    "created_by": 1,
    "role": "admin",
    "created_at": "2020-01-01T00:00:00Z",
    "version": 9,
    "deleted_at": None,
}
OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")


def visible(response):
    """Return the parts of a response that could reveal that a row exists."""
    headers = dict(response.headers)
    for name in ("X-Request-ID", "Content-Length"):
        headers.pop(name, None)
    body = response.json if response.data else None
    if isinstance(body, dict):
        body = {name: body[name] for name in body if name not in {"instance", "request_id"}}
    return response.status_code, headers, body


def protected_routes(world):
    """Return every route that needs a token."""
    routes = [route for route in world.routes() if route.name not in PUBLIC]
    assert len(routes) >= 30
    return routes


def test_z1_every_operation_that_is_not_public_declares_a_token(world):
    for path, operations in world.document["paths"].items():
        for method in operations.keys() & {method.lower() for method in METHODS}:
            name = f"{method.upper()} {path}"
            assert (operations[method]["security"] == []) == (name in PUBLIC), name


def test_z1_no_token_is_401_even_with_an_invalid_request(world):
    for route in protected_routes(world):
        for request in BAD_REQUESTS:
            for ids in (None, unknown_ids(route), impossible_ids(route)):
                response = world.call(route, world.ada, ids=ids, **request)
                assert response.status_code == 401, (route.name, request)
                assert_problem(response, 401, "authentication_required")
                assert response.headers["WWW-Authenticate"] == "Bearer"
    assert world.stored() == world.rows


def test_z2_another_users_resource_is_like_an_unknown_id(world):
    checked = 0
    for route in protected_routes(world):
        if not route.has_owner:
            continue
        token = world.session_token(route, world.bob)
        for request in ({}, *BAD_REQUESTS):
            foreign = world.call(route, world.bob, token=token, **request)
            unknown = world.call(route, world.bob, token=token, ids=unknown_ids(route), **request)
            assert visible(foreign) == visible(unknown), (route.name, request)
            assert foreign.status_code >= 400, (route.name, request)
            if not request:
                expected = 403 if route.path.startswith("/api/v1/users") else 404
                assert foreign.status_code == expected, route.name
        checked += 1
    assert checked >= 10
    assert world.stored() == world.rows


def test_z2_head_of_another_users_resource_is_an_error(world):
    for route in protected_routes(world):
        if route.has_owner and route.method == "GET":
            head = Route("HEAD", route.path, route.operation)
            response = world.call(head, world.bob, token=world.bob.access_token)
            assert response.status_code in {403, 404}, route.name
            assert response.data == b""


@pytest.mark.parametrize("atomic", [True, False])
def test_z3_foreign_id_in_a_batch_is_like_an_unknown_id(alice, bob, stored, atomic):
    foreign = bob.task("Foreign")
    before = stored(select(*Task.__table__.c))
    for operation in (
        {"op": "delete"},
        {"op": "update", "body": {"title": "Stolen"}, "version": 1},
    ):
        responses = [
            alice.post("/tasks/batch", {"atomic": atomic, "operations": [operation | {"id": id_}]})
            for id_ in (foreign["id"], UNKNOWN)
        ]
        assert visible(responses[0])[2] is not None
        if atomic:
            assert visible(responses[0]) == visible(responses[1])
            assert_problem(responses[0], 404, "not_found")
        else:
            results = [response.json["results"] for response in responses]
            codes = [[result["problem"]["code"] for result in batch] for batch in results]
            assert codes == [["not_found"], ["not_found"]]
        assert "Foreign" not in responses[0].text
    assert stored(select(*Task.__table__.c)) == before


def test_z3_owner_filter_does_not_reveal_other_users(alice, bob):
    task = alice.task()
    of_alice = bob.get(f"/tasks?owner_id={alice.id}")
    of_nobody = bob.get(f"/tasks?owner_id={UNKNOWN}")
    assert of_alice.json == of_nobody.json == {"data": [], "next_cursor": None}
    assert alice.get(f"/tasks?owner_id={alice.id}").json["data"] == [task]


def test_z3_another_users_cursor_is_invalid(alice, bob):
    for account in (alice, bob):
        for number in range(3):
            account.task(f"{account.username} {number}")
    cursor = alice.get("/tasks?limit=1").json["next_cursor"]
    response = bob.get("/tasks", query_string={"limit": 1, "cursor": cursor})
    assert_problem(response, 422, "invalid_cursor")
    assert "alice" not in response.text


SEARCHES = (
    *("", "?q=milk", "?status=pending", "?has_due=false", "?overdue=true"),
    *("?sort=title&limit=1", "?sort=-position", "?priority=none,high", "?created_after=2020-01-01"),
)


def test_z4_other_users_data_does_not_change_own_results(world):
    ada, bob = world.ada, world.bob

    def read():
        responses = {search: ada.get(f"/tasks{search}").json for search in SEARCHES}
        for route in protected_routes(world):
            if route.method == "GET" and not route.path.startswith("/api/v1/users"):
                token = world.session_token(route, ada)
                responses[route.path] = world.call(route, ada, token=token, json=None).json
        # These differ with each request.
        export = responses["/api/v1/auth/me/export"]
        del export["exported_at"], export["audit_events"]
        del responses["/api/v1/auth/totp"]["request_id"]
        return responses

    world.restore()
    before = read()
    assert len(before["?q=milk"]["data"]) == len(before["/api/v1/auth/me/export"]["tasks"]) == 1
    world.restore()
    for number in range(5):
        bob.task("Milk", due_date="2020-01-01", description="milk", position=f"a0{number}1")
    creates = [{"op": "create", "body": {"title": "Milk"}}] * 20
    assert bob.post("/tasks/batch", {"operations": creates}).status_code == 200
    assert bob.post("/auth/tokens", {"name": "his", "scopes": ["tasks:read"]}).status_code == 201
    assert read() == before
    assert ada.task("Next")["position"] == "a1"


def test_z5_read_only_fields_are_rejected_by_name(world):
    checked = 0
    for route in world.routes():
        # Uploaded files have no JSON schema.
        if "$ref" not in route.content.get("schema", {}):
            continue
        world.restore()
        body = world.body(route, world.ada)
        before = world.stored()
        account = world.admin if route.path.startswith("/api/v1/users") else world.ada
        token = None if route.name in PUBLIC else world.session_token(route, account)
        for name in READ_ONLY.keys() - fields_of(world, route):
            read_only = {name: READ_ONLY[name]}
            response = world.call(route, account, token=token, json=body | read_only)
            errors = assert_problem(response, 422, "validation_error")["errors"]
            assert f"/{name}" in {error["pointer"] for error in errors}, (route.name, name)
        assert world.stored() == before, route.name
        checked += 1
    assert checked >= 15


def fields_of(world, route):
    """Return the documented fields of a body."""
    schema = route.content["schema"]["$ref"].rpartition("/")[2]
    return world.document["components"]["schemas"][schema]["properties"].keys()


def test_z5_read_only_fields_are_rejected_in_a_batch(alice, stored):
    task = alice.task()
    before = stored(select(*Task.__table__.c))
    for name, value in READ_ONLY.items():
        body = {"title": "Mine", name: value}
        update = {"op": "update", "id": task["id"], "body": body}
        operations = [{"op": "create", "body": body}, update]
        results = alice.post("/tasks/batch", {"operations": operations}).json["results"]
        for result in results:
            assert result["status"] == 422
            assert f"/{name}" in {error["pointer"] for error in result["problem"]["errors"]}
    assert stored(select(*Task.__table__.c)) == before
    assert alice.get(f"/tasks/{task['id']}").json == task


def stored_secrets(rows):
    """Yield every stored secret, in each form that a response could contain."""
    for row in rows["users"]:
        yield row["password_hash"]
    for row in rows["sessions"]:
        yield from filter(None, (row["refresh_id"], row["spent_id"]))
    for table in ("personal_tokens", "email_tokens"):
        for row in rows[table]:
            raw = row["token_hash"]
            yield from (raw.hex(), base64.b64encode(raw).decode().rstrip("="))


def test_z6_no_response_has_hashes_tokens_or_other_addresses(world):
    personal = [*world.tokens.values(), world.whole_token]
    sessions = [
        token for a in (world.ada, world.bob) for token in (a.access_token, a.refresh_token)
    ]
    addresses = [f"{name}@example.com" for name in ("bob", "dora", "root")]
    checked = 0
    for route in world.routes():
        world.restore()
        public = route.name in PUBLIC
        token = None if public else world.session_token(route, world.ada)
        response = world.call(route, world.ada, token=token)
        assert response.status_code < 500, route.name
        secrets = [*stored_secrets(world.rows), *stored_secrets(world.stored())]
        for secret in (*secrets, *personal, *sessions, *addresses, "$argon2", "password_hash"):
            assert secret not in response.text, (route.name, secret)
        if not public and route.name not in RETURNS_SECRETS:
            assert not re.search(r"tap_|eyJ[\w-]+\.[\w-]+\.", response.text), route.name
        checked += 1
    assert checked >= 45


def test_z7_admin_routes_are_forbidden_in_every_method(world):
    paths = {route.path for route in world.routes() if route.path.startswith("/api/v1/users")}
    known = {route.name: route for route in world.routes()}
    assert len(paths) >= 3
    for path in paths:
        for method in METHODS:
            route = known.get(f"{method} {path}")
            called = route or Route(method, path, None)
            token = world.bob.access_token
            response = world.call(called, world.ada, token=token, json={"role": "admin"})
            if route is None:
                assert_problem(response, 405, "method_not_allowed")
            else:
                assert_problem(response, 403, "forbidden")
    assert world.stored() == world.rows


def test_z7_override_headers_do_not_change_the_method(world):
    for route in protected_routes(world):
        if route.method != "GET" or route.path.endswith("/export"):
            continue
        world.restore()
        plain = world.call(route, world.ada, token=world.ada.access_token)
        before = world.stored()
        for method in METHODS:
            headers = dict.fromkeys(OVERRIDES, method)
            response = world.call(
                route, world.ada, token=world.ada.access_token, json=None, headers=headers
            )
            assert response.status_code == plain.status_code, route.name
        assert world.stored() == before, route.name
    login, overridden = Route("GET", "/api/v1/auth/login", None), dict.fromkeys(OVERRIDES, "POST")
    response = world.call(login, world.ada, json={}, headers=overridden)
    assert_problem(response, 405, "method_not_allowed")


@pytest.mark.parametrize("atomic", [True, False])
def test_z8_batch_does_not_change_foreign_tasks(alice, bob, stored, atomic):
    own, deleted, foreign = alice.task("Own"), alice.task("Deleted"), bob.task("Foreign")
    everything = select(*Task.__table__.c)
    before = stored(everything)
    operations = [
        {"op": "update", "id": own["id"], "body": {"title": "Changed"}},
        {"op": "update", "id": foreign["id"], "body": {"title": "Stolen"}},
        {"op": "delete", "id": deleted["id"]},
        {"op": "create", "body": {"title": "New"}},
    ]
    response = alice.post("/tasks/batch", {"atomic": atomic, "operations": operations})
    assert bob.get(f"/tasks/{foreign['id']}").json == foreign
    if atomic:
        assert_problem(response, 404, "not_found", operation=1)
        assert stored(everything) == before
    else:
        assert [result["status"] for result in response.json["results"]] == [200, 404, 204, 201]
        titles = stored(select(Task.title).order_by(Task.id))
        assert titles == [("Changed",), ("Foreign",), ("New",)]
    assert "Foreign" not in json.dumps(response.json)
