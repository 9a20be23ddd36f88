"""Personal access tokens: creation, scopes, expiry and deletion."""

import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import insert, select, update

from app.api.models import IdempotencyRecord
from app.api.openapi import build
from app.api.operation_meta import get_meta
from app.auth.models import PersonalToken, Scope, User
from app.auth.services.personal_tokens import MAX_TOKENS
from app.extensions import db
from tests.accounts import Account
from tests.problems import assert_problem, pointers

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)
READ_TOKEN = {"name": "script", "scopes": ["tasks:read"]}
KEYS = ["id", "name", "scopes", "created_at", "expires_at", "last_used_at"]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def using(account, token):
    """Return the same user with a personal token."""
    other = Account(account.client, account.login)
    other.access_token = token
    return other


@pytest.fixture
def make(alice):
    """Create a token of alice, and return a client that uses it."""

    def with_scopes(*scopes, **fields):
        body = {"name": "script", "scopes": [*scopes], **fields}
        response = alice.post("/auth/tokens", body)
        assert response.status_code == 201, response.text
        script = using(alice, response.json["token"])
        script.token_id = response.json["id"]
        return script

    return with_scopes


def operations(app):
    """Yield every operation of the API, with unknown ids, and its metadata."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1"):
            path = re.sub(r"<token_id:\w+>", "0" * 32, rule.rule.removeprefix("/api/v1"))
            path = re.sub(r"<row_id:\w+>", "1000000", path)
            for method in rule.methods & METHODS:
                yield method, path, get_meta(app.view_functions[rule.endpoint])


def scope_of(meta):
    """Return the scope that a personal token needs for an operation, if it accepts one."""
    return next((scheme.scope for scheme in meta.tokens if scheme.scope), None)


def test_token_is_shown_once_and_stored_hashed(alice, stored):
    response = alice.post("/auth/tokens", READ_TOKEN)
    token = response.json["token"]
    assert response.status_code == 201
    assert re.fullmatch(r"tap_[\w-]{43}", token)
    assert set(response.json) == {*KEYS, "token"}
    assert response.headers["Cache-Control"] == "no-store"
    read = alice.get(response.headers["Location"].partition("/api/v1")[2])
    shown = {key: value for key, value in response.json.items() if key != "token"}
    assert read.json == shown
    assert alice.get("/auth/tokens").json["data"] == [shown]
    assert "token" not in read.json
    digest = hashlib.sha256(token.encode()).digest()
    assert stored(select(PersonalToken.token_hash)) == [(digest,)]
    for path in ("/auth/tokens", "/auth/me", "/auth/me/audit", "/auth/me/export"):
        assert token not in alice.get(path).text


def test_tokens_are_unique(alice):
    tokens = {alice.post("/auth/tokens", READ_TOKEN).json["token"] for _ in range(5)}
    assert len(tokens) == 5


def test_creation_requires_a_fresh_session(alice, stored):
    bearer = {"Authorization": f"Bearer {alice.refresh_token}"}
    alice.access_token = alice.client.post("/api/v1/auth/refresh", headers=bearer).json[
        "access_token"
    ]
    assert_problem(alice.post("/auth/tokens", READ_TOKEN), 401, "fresh_token_required")
    assert stored(select(PersonalToken.id)) == []
    assert alice.get("/auth/tokens").status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("name", 1),
        ("scopes", None),
        ("scopes", []),
        ("scopes", "tasks:read"),
        ("scopes/0", ["tasks:everything"]),
        ("scopes/1", ["tasks:read", None]),
        ("scopes", ["tasks:read"] * 6),
        ("expires_at", "2030-01-31"),
        ("expires_at", "2030-01-31T09:00:00"),
        ("expires_at", "2001-01-31T09:00:00Z"),
        ("expires_at", 1),
        ("token", "tap_mine"),
        ("user_id", 1),
        ("last_used_at", None),
    ],
)
def test_invalid_field_is_reported_and_nothing_is_created(alice, stored, field, value):
    body = {**READ_TOKEN, field.partition("/")[0]: value}
    assert pointers(alice.post("/auth/tokens", body)) == {f"/{field}"}
    assert stored(select(PersonalToken.id)) == []


@pytest.mark.parametrize("missing", ["name", "scopes"])
def test_name_and_scopes_are_required(alice, missing):
    body = {key: value for key, value in READ_TOKEN.items() if key != missing}
    assert pointers(alice.post("/auth/tokens", body)) == {f"/{missing}"}


def test_scopes_are_unique_and_ordered(alice):
    body = ["account:read", "tasks:write", "tasks:write", "tasks:read"]
    created = alice.post("/auth/tokens", READ_TOKEN | {"scopes": body}).json
    read = alice.get(f"/auth/tokens/{created['id']}").json
    assert read["scopes"] == created["scopes"] == ["tasks:read", "tasks:write", "account:read"]


def test_tokens_of_others_are_not_found(alice, bob, make, stored):
    script = make("tasks:read")
    for call in (bob.get, bob.delete):
        existing = call(f"/auth/tokens/{script.token_id}")
        unknown = call("/auth/tokens/1000000")
        assert_problem(existing, 404, "not_found")
        assert existing.json | {"instance": "", "request_id": ""} == unknown.json | {
            "instance": "",
            "request_id": "",
        }
    assert bob.get("/auth/tokens").json["data"] == []
    assert stored(select(PersonalToken.user_id)) == [(alice.id,)]


def test_administrator_cannot_see_tokens_of_others(admin, make):
    script = make("tasks:read")
    assert_problem(admin.get(f"/auth/tokens/{script.token_id}"), 404, "not_found")
    assert_problem(admin.delete(f"/auth/tokens/{script.token_id}"), 404, "not_found")
    assert script.get("/tasks").status_code == 200


def test_deleted_token_is_rejected_at_once_and_others_remain_valid(alice, make):
    deleted, other = make("tasks:read"), make("tasks:read")
    assert deleted.get("/tasks").status_code == 200
    assert alice.delete(f"/auth/tokens/{deleted.token_id}").status_code == 204
    assert_problem(deleted.get("/tasks"), 401, "invalid_token")
    assert_problem(alice.delete(f"/auth/tokens/{deleted.token_id}"), 404, "not_found")
    assert other.get("/tasks").status_code == 200


def test_token_outlives_sessions_but_not_its_user(alice, make):
    script = make("account:read")
    fresh = alice.access_token
    assert alice.post("/auth/logout").status_code == 204
    assert script.get("/auth/me").json["id"] == alice.id
    again = alice.with_new_client()
    assert fresh != again.access_token
    assert again.delete("/auth/me").status_code == 204
    assert_problem(script.get("/auth/me"), 401, "invalid_token")


def test_token_is_valid_until_it_expires(accounts):
    with time_machine.travel(MOMENT, tick=False) as clock:
        alice = accounts.make("alice")
        body = READ_TOKEN | {"expires_at": "2040-01-31T10:00:00+00:00"}
        created = alice.post("/auth/tokens", body).json
        assert created["expires_at"] == "2040-01-31T10:00:00.000000Z"
        script = using(alice, created["token"])
        clock.shift(timedelta(hours=1) - timedelta(microseconds=1))
        assert script.get("/tasks").status_code == 200
        clock.shift(timedelta(microseconds=1))
        assert_problem(script.get("/tasks"), 401, "token_expired")
        body["expires_at"] = "2040-01-31T10:00:00.000000Z"
        assert pointers(alice.with_new_client().post("/auth/tokens", body)) == {"/expires_at"}


def test_token_of_a_disabled_user_is_rejected(app, alice, make):
    script = make("tasks:read")

    def set_disabled(moment):
        with app.app_context():
            db.session.execute(update(User).values(disabled_at=moment))
            db.session.commit()

    set_disabled(MOMENT)
    assert_problem(script.get("/tasks"), 403, "account_disabled")
    set_disabled(None)
    assert script.get("/tasks").status_code == 200


def test_last_use_is_written_at_most_once_a_minute(accounts, statements, stored):
    used = select(PersonalToken.last_used_at)
    with time_machine.travel(MOMENT, tick=False) as clock:
        alice = accounts.make("alice")
        script = using(alice, alice.post("/auth/tokens", READ_TOKEN).json["token"])
        assert stored(used) == [(None,)]
        for seconds, writes, last_used in (
            (0, 1, 0),
            (1, 0, 0),
            (58, 0, 0),
            (1, 1, 60),
            (59, 0, 60),
            (3600, 1, 3719),
        ):
            clock.shift(seconds)
            with statements() as seen:
                assert script.get("/tasks").status_code == 200
            assert sum(line.startswith("UPDATE") for line in seen) == writes
            assert stored(used) == [(MOMENT + timedelta(seconds=last_used),)]
        read = alice.with_new_client().get("/auth/tokens").json["data"][0]["last_used_at"]
        assert read == "2040-01-31T10:01:59.000000Z"


@pytest.mark.parametrize(
    "token",
    ["tap_", "tap_x", "tap_" + "A" * 43, "tap_é", "TAP_x", "tap_" + "a" * 5000, "tap_a b"],
)
def test_unknown_token_is_invalid(alice, make, token):
    script = make("tasks:read")
    script.access_token = token
    assert_problem(script.get("/tasks"), 401, "invalid_token")


def test_token_is_compared_exactly(make):
    script = make("tasks:read")
    token = script.access_token
    for altered in (token[:-1], token + "A", token.swapcase(), token.upper()):
        script.access_token = altered
        assert_problem(script.get("/tasks"), 401, "invalid_token")


def test_every_protected_route_accepts_a_session_or_names_a_scope(app):
    known = {"accessToken", "refreshToken", "personalToken"}
    scopes = set()
    for method, path, meta in operations(app):
        names = {scheme.name for scheme in meta.tokens}
        assert names <= known, (method, path)
        assert ("personalToken" in names) == (scope_of(meta) is not None), (method, path)
        if "personalToken" in names:
            assert "accessToken" in names, (method, path)
            scopes.add(scope_of(meta))
        # An export changes no task.
        reads = method == "GET" or path.endswith("/exports")
        if scope := scope_of(meta):
            assert scope.endswith(":read") == reads, (method, path)
    assert scopes == {"tasks:read", "tasks:write", "account:read"}


def test_openapi_names_the_scope_of_every_route(app):
    paths = build(app)["paths"]
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1"):
            meta = get_meta(app.view_functions[rule.endpoint])
            path = re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule)
            for method in rule.methods & METHODS:
                operation = paths[path][method.lower()]
                scope = scope_of(meta)
                assert operation.get("x-required-scope") == scope, (method, path)
                assert ({"personalToken": []} in operation["security"]) == bool(scope)
                assert scope is None or f"`{scope}`" in operation["description"]


def test_token_with_all_scopes_cannot_use_routes_of_sessions(app, make):
    script = make(*Scope)
    rejected = 0
    for method, path, meta in operations(app):
        if not meta.tokens or scope_of(meta):
            continue
        assert path.startswith(("/auth/", "/users", "/jobs", "/exports", "/imports")), path
        assert_problem(script.call(method, path), 401, "wrong_token_type")
        rejected += 1
    assert rejected >= 20
    assert script.get("/auth/me").json["id"] == script.id


@pytest.mark.parametrize("scope", list(Scope))
def test_scope_allows_only_its_own_routes(app, make, scope):
    script = make(scope)
    for method, path, meta in operations(app):
        needed = scope_of(meta)
        if needed is None:
            continue
        response = script.call(method, path)
        if needed == scope:
            assert response.status_code not in {401, 403}, (method, path)
            continue
        assert_problem(response, 403, "insufficient_scope", scope=needed)
        challenge = response.headers["WWW-Authenticate"]
        assert challenge == f'Bearer error="insufficient_scope", scope="{needed}"'


def test_missing_scope_is_reported_before_validation_errors(alice, make):
    task = alice.task()
    script = make("tasks:read")
    for method, path in (("POST", "/tasks"), ("PATCH", f"/tasks/{task['id']}")):
        invalid = {"data": "{", "content_type": "text/plain"}
        assert_problem(script.call(method, path, **invalid), 403, "insufficient_scope")
    assert_problem(script.delete(f"/tasks/{task['id']}"), 403, "insufficient_scope")
    assert script.get(f"/tasks/{task['id']}").json == task


def test_session_has_every_scope(app, alice, make):
    script, headers = make(*Scope), {"X-Request-ID": "same"}
    operation_count = 0
    for method, path, meta in operations(app):
        if scope_of(meta):
            response = alice.call(method, path, headers=headers)
            assert response.status_code not in {401, 403}, (method, path)
            by_script = script.call(method, path, headers=headers)
            assert (response.status_code, response.data) == (by_script.status_code, by_script.data)
            operation_count += 1
    assert operation_count >= 10


def test_script_with_scopes_acts_as_its_user(alice, bob, make):
    script = make("tasks:read", "tasks:write")
    foreign = bob.task()
    task = script.task("by a script")
    assert task["created_by"] == alice.id
    assert script.patch(f"/tasks/{task['id']}", {"title": "changed"}).json["version"] == 2
    assert [row["title"] for row in alice.get("/tasks").json["data"]] == ["changed"]
    assert_problem(script.get(f"/tasks/{foreign['id']}"), 404, "not_found")
    assert script.delete(f"/tasks/{task['id']}").status_code == 204


def test_user_has_at_most_100_tokens(app, alice, bob, stored):
    assert MAX_TOKENS == 100
    rows = [
        {
            "user_id": alice.id,
            "name": str(number),
            "token_hash": number.to_bytes(32),
            "scopes": ("tasks:read",),
            "created_at": MOMENT,
        }
        for number in range(99)
    ]
    with app.app_context():
        db.session.execute(insert(PersonalToken), rows)
        db.session.commit()
    last = alice.post("/auth/tokens", READ_TOKEN)
    assert last.status_code == 201
    assert_problem(alice.post("/auth/tokens", READ_TOKEN), 409, "conflict")
    assert bob.post("/auth/tokens", READ_TOKEN).status_code == 201
    assert alice.delete(f"/auth/tokens/{last.json['id']}").status_code == 204
    assert alice.post("/auth/tokens", READ_TOKEN).status_code == 201


def test_parallel_creation_stops_at_100_tokens(app, alice, run_parallel, stored):
    rows = [
        {
            "user_id": alice.id,
            "name": str(number),
            "token_hash": number.to_bytes(32),
            "scopes": ("tasks:read",),
            "created_at": MOMENT,
        }
        for number in range(98)
    ]
    with app.app_context():
        db.session.execute(insert(PersonalToken), rows)
        db.session.commit()
    responses = run_parallel(alice, [("POST", "/auth/tokens", READ_TOKEN)] * 5)
    assert sorted(response.status_code for response in responses) == [201, 201, 409, 409, 409]
    assert len(stored(select(PersonalToken.id))) == 100


def test_idempotency_key_does_not_store_the_secret(alice, stored):
    """A repeated request creates another token: the secret is not stored."""
    key = {"Idempotency-Key": "once"}
    responses = [alice.post("/auth/tokens", READ_TOKEN, headers=key) for _ in range(2)]
    assert [response.status_code for response in responses] == [201, 201]
    assert responses[0].json["token"] != responses[1].json["token"]
    assert "Idempotent-Replayed" not in responses[1].headers
    assert stored(select(IdempotencyRecord.key)) == []


def test_list_is_paginated_newest_first(alice):
    ids = [alice.post("/auth/tokens", READ_TOKEN).json["id"] for _ in range(5)]
    seen, query = [], {"limit": 2}
    while True:
        page = alice.get("/auth/tokens", query_string=query).json
        seen += [token["id"] for token in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ids[::-1]
