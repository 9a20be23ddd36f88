"""Checks Z1 to Z8: who may do what, on every route there is (OWASP API Security Top 10, 1 to 5).

What members of a project may do is checked once there are projects.
"""

import base64
import json
import re

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem
from tests.security.calls import (
    GIVES_SECRETS,
    METHODS,
    PUBLIC,
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


def told(answer):
    """What an answer tells that might betray a row."""
    headers = dict(answer.headers)
    for name in ("X-Request-ID", "Content-Length"):
        headers.pop(name, None)
    body = answer.json if answer.data else None
    if isinstance(body, dict):
        body = {name: body[name] for name in body if name not in {"instance", "request_id"}}
    return answer.status_code, headers, body


def guarded(world):
    """Every route that needs a token."""
    found = [route for route in world.routes() if route.name not in PUBLIC]
    assert len(found) >= 30
    return found


def test_z1_every_operation_of_the_document_needs_a_token_or_is_meant_to_be_public(world):
    for path, operations in world.document["paths"].items():
        for method in operations.keys() & {method.lower() for method in METHODS}:
            name = f"{method.upper()} {path}"
            assert (operations[method]["security"] == []) == (name in PUBLIC), name


def test_z1_without_a_token_the_answer_is_401_whatever_else_is_wrong(world):
    for route in guarded(world):
        for sent in BAD_REQUESTS:
            for ids in (None, unknown_ids(route), impossible_ids(route)):
                answer = world.call(route, world.ada, ids=ids, **sent)
                assert answer.status_code == 401, (route.name, sent)
                assert_problem(answer, 401, "authentication_required")
                assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert world.stored() == world.rows


def test_z2_what_is_anothers_answers_as_what_never_was(world):
    asked = 0
    for route in guarded(world):
        if not route.is_anyones:
            continue
        token = world.session_token(route, world.bob)
        for sent in ({}, *BAD_REQUESTS):
            foreign = world.call(route, world.bob, token=token, **sent)
            unknown = world.call(route, world.bob, token=token, ids=unknown_ids(route), **sent)
            assert told(foreign) == told(unknown), (route.name, sent)
            assert foreign.status_code >= 400, (route.name, sent)
            if not sent:
                expected = 403 if route.path.startswith("/api/v1/users") else 404
                assert foreign.status_code == expected, route.name
        asked += 1
    assert asked >= 10
    assert world.stored() == world.rows


def test_z2_head_of_what_is_anothers_answers_as_get_does(world):
    for route in guarded(world):
        if route.is_anyones and route.method == "GET":
            head = Route("HEAD", route.path, route.operation)
            answer = world.call(head, world.bob, token=world.bob.access_token)
            assert answer.status_code in {403, 404}, route.name
            assert answer.data == b""


@pytest.mark.parametrize("atomic", [True, False])
def test_z3_a_foreign_id_in_a_batch_is_as_unknown_as_none(alice, bob, stored, atomic):
    foreign = bob.task("Foreign")
    before = stored(select(*Task.__table__.c))
    for operation in (
        {"op": "delete"},
        {"op": "update", "body": {"title": "Stolen"}, "version": 1},
    ):
        answers = [
            alice.post("/tasks/batch", {"atomic": atomic, "operations": [operation | {"id": id_}]})
            for id_ in (foreign["id"], UNKNOWN)
        ]
        assert told(answers[0])[2] is not None
        if atomic:
            assert told(answers[0]) == told(answers[1])
            assert_problem(answers[0], 404, "not_found")
        else:
            results = [answer.json["results"] for answer in answers]
            codes = [[result["problem"]["code"] for result in each] for each in results]
            assert codes == [["not_found"], ["not_found"]]
        assert "Foreign" not in answers[0].text
    assert stored(select(*Task.__table__.c)) == before


def test_z3_to_others_an_owner_is_as_one_without_tasks(alice, bob):
    task = alice.task()
    theirs = bob.get(f"/tasks?owner_id={alice.id}")
    nobodys = bob.get(f"/tasks?owner_id={UNKNOWN}")
    assert theirs.json == nobodys.json == {"data": [], "next_cursor": None}
    assert alice.get(f"/tasks?owner_id={alice.id}").json["data"] == [task]


def test_z3_anothers_cursor_leads_nowhere(alice, bob):
    for account in (alice, bob):
        for number in range(3):
            account.task(f"{account.username} {number}")
    cursor = alice.get("/tasks?limit=1").json["next_cursor"]
    answer = bob.get("/tasks", query_string={"limit": 1, "cursor": cursor})
    assert_problem(answer, 422, "invalid_cursor")
    assert "alice" not in answer.text


SEARCHES = (
    *("", "?q=milk", "?status=pending", "?has_due=false", "?overdue=true"),
    *("?sort=title&limit=1", "?sort=-position", "?priority=none,high", "?created_after=2020-01-01"),
)


def test_z4_nothing_of_ones_own_moves_when_another_adds_data(world):
    ada, bob = world.ada, world.bob

    def read():
        answers = {search: ada.get(f"/tasks{search}").json for search in SEARCHES}
        for route in guarded(world):
            if route.method == "GET" and not route.path.startswith("/api/v1/users"):
                token = world.session_token(route, ada)
                answers[route.path] = world.call(route, ada, token=token, json=None).json
        # It tells of itself when it was made.
        export = answers["/api/v1/auth/me/export"]
        del export["exported_at"], export["audit_events"]
        del answers["/api/v1/auth/totp"]["request_id"]
        return answers

    world.restore()
    before = read()
    assert len(before["?q=milk"]["data"]) == len(before["/api/v1/auth/me/export"]["tasks"]) == 1
    world.restore()
    for number in range(5):
        bob.task("Milk", due_date="2020-01-01", description="milk", position=f"a0{number}1")
    made = [{"op": "create", "body": {"title": "Milk"}}] * 20
    assert bob.post("/tasks/batch", {"operations": made}).status_code == 200
    assert bob.post("/auth/tokens", {"name": "his", "scopes": ["tasks:read"]}).status_code == 201
    assert read() == before
    assert ada.task("Next")["position"] == "a1"


def test_z5_what_is_the_servers_to_say_is_refused_by_name_and_changes_nothing(world):
    asked = 0
    for route in world.routes():
        # What a file says of its rows is judged when it is imported.
        if "$ref" not in route.content.get("schema", {}):
            continue
        world.restore()
        body = world.body(route, world.ada)
        before = world.stored()
        account = world.admin if route.path.startswith("/api/v1/users") else world.ada
        token = None if route.name in PUBLIC else world.session_token(route, account)
        for name in READ_ONLY.keys() - fields_of(world, route):
            more = {name: READ_ONLY[name]}
            answer = world.call(route, account, token=token, json=body | more)
            faults = assert_problem(answer, 422, "validation_error")["errors"]
            assert f"/{name}" in {fault["pointer"] for fault in faults}, (route.name, name)
        assert world.stored() == before, route.name
        asked += 1
    assert asked >= 15


def fields_of(world, route):
    """The fields that the document says a body has."""
    schema = route.content["schema"]["$ref"].rpartition("/")[2]
    return world.document["components"]["schemas"][schema]["properties"].keys()


def test_z5_the_same_within_a_batch(alice, stored):
    task = alice.task()
    before = stored(select(*Task.__table__.c))
    for name, value in READ_ONLY.items():
        body = {"title": "Mine", name: value}
        update = {"op": "update", "id": task["id"], "body": body}
        operations = [{"op": "create", "body": body}, update]
        results = alice.post("/tasks/batch", {"operations": operations}).json["results"]
        for result in results:
            assert result["status"] == 422
            assert f"/{name}" in {fault["pointer"] for fault in result["problem"]["errors"]}
    assert stored(select(*Task.__table__.c)) == before
    assert alice.get(f"/tasks/{task['id']}").json == task


def kept_secrets(rows):
    """Everything that is kept and nobody is told, in the forms that it might be told in."""
    for row in rows["users"]:
        yield row["password_hash"]
    for row in rows["sessions"]:
        yield from filter(None, (row["refresh_id"], row["spent_id"]))
    for table in ("personal_tokens", "mailed_tokens"):
        for row in rows[table]:
            raw = row["token_hash"]
            yield from (raw.hex(), base64.b64encode(raw).decode().rstrip("="))


def test_z6_no_answer_holds_a_hash_a_token_or_anothers_address(world):
    personal = [*world.tokens.values(), world.whole_token]
    sessions = [
        token for a in (world.ada, world.bob) for token in (a.access_token, a.refresh_token)
    ]
    addresses = [f"{name}@example.com" for name in ("bob", "dora", "root")]
    asked = 0
    for route in world.routes():
        world.restore()
        public = route.name in PUBLIC
        token = None if public else world.session_token(route, world.ada)
        answer = world.call(route, world.ada, token=token)
        assert answer.status_code < 500, route.name
        secrets = [*kept_secrets(world.rows), *kept_secrets(world.stored())]
        for secret in (*secrets, *personal, *sessions, *addresses, "$argon2", "password_hash"):
            assert secret not in answer.text, (route.name, secret)
        if not public and route.name not in GIVES_SECRETS:
            assert not re.search(r"tap_|eyJ[\w-]+\.[\w-]+\.", answer.text), route.name
        asked += 1
    assert asked >= 45


def test_z7_administrators_routes_are_forbidden_to_a_user_in_every_method(world):
    paths = {route.path for route in world.routes() if route.path.startswith("/api/v1/users")}
    known = {route.name: route for route in world.routes()}
    assert len(paths) >= 3
    for path in paths:
        for method in METHODS:
            route = known.get(f"{method} {path}")
            asked = route or Route(method, path, None)
            token = world.bob.access_token
            answer = world.call(asked, world.ada, token=token, json={"role": "admin"})
            if route is None:
                assert_problem(answer, 405, "method_not_allowed")
            else:
                assert_problem(answer, 403, "forbidden")
    assert world.stored() == world.rows


def test_z7_no_header_changes_the_method(world):
    for route in guarded(world):
        if route.method != "GET" or route.path.endswith("/export"):
            continue
        world.restore()
        plain = world.call(route, world.ada, token=world.ada.access_token)
        before = world.stored()
        for method in METHODS:
            headers = dict.fromkeys(OVERRIDES, method)
            answer = world.call(
                route, world.ada, token=world.ada.access_token, json=None, headers=headers
            )
            assert answer.status_code == plain.status_code, route.name
        assert world.stored() == before, route.name
    login, overridden = Route("GET", "/api/v1/auth/login", None), dict.fromkeys(OVERRIDES, "POST")
    answer = world.call(login, world.ada, json={}, headers=overridden)
    assert_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("atomic", [True, False])
def test_z8_a_batch_of_own_and_foreign_tasks_leaves_the_foreign_untouched(
    alice, bob, stored, atomic
):
    own, doomed, foreign = alice.task("Own"), alice.task("Doomed"), bob.task("Foreign")
    everything = select(*Task.__table__.c)
    before = stored(everything)
    operations = [
        {"op": "update", "id": own["id"], "body": {"title": "Changed"}},
        {"op": "update", "id": foreign["id"], "body": {"title": "Stolen"}},
        {"op": "delete", "id": doomed["id"]},
        {"op": "create", "body": {"title": "New"}},
    ]
    answer = alice.post("/tasks/batch", {"atomic": atomic, "operations": operations})
    assert bob.get(f"/tasks/{foreign['id']}").json == foreign
    if atomic:
        assert_problem(answer, 404, "not_found", operation=1)
        assert stored(everything) == before
    else:
        assert [result["status"] for result in answer.json["results"]] == [200, 404, 204, 201]
        titles = stored(select(Task.title).order_by(Task.id))
        assert titles == [("Changed",), ("Foreign",), ("New",)]
    assert "Foreign" not in json.dumps(answer.json)
