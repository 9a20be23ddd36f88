"""Accounts are the administrators': nobody else learns anything of them, but of its own."""

import re

import pytest

from app.auth.models import Scope
from tests.problems import assert_problem

UNKNOWN = 10**6


def calls(app, user_id):
    """Every call of the room, about one account."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("users."):
            path = re.sub("<row_id:user_id>", str(user_id), rule.rule.removeprefix("/api/v1"))
            for method in rule.methods - {"OPTIONS"}:
                yield method, path, rule.endpoint


WRONG = [
    {},
    {"json": {"role": "admin"}},
    {"json": {"no": "such field"}},
    {"data": "{", "content_type": "application/json"},
    {"data": "x=1", "content_type": "text/plain"},
    {"query_string": {"limit": "x", "no": "such"}},
    {"headers": {"Accept": "text/html"}},
]


@pytest.mark.parametrize("said", WRONG)
def test_to_a_user_every_call_is_forbidden_whether_the_account_is_there_or_not(
    app, alice, bob, admin, said
):
    bodies = set()
    made = 0
    for user_id in (bob.id, admin.id, UNKNOWN):
        for method, path, _ in calls(app, user_id):
            answer = alice.call(method, path, **said)
            assert answer.status_code == 403, (method, path)
            if method != "HEAD":
                body = assert_problem(answer, 403, "forbidden")
                del body["instance"], body["request_id"]
                bodies.add(str(body))
            made += 1
    assert len(bodies) == 1
    assert made == 3 * 8
    assert bob.get("/auth/me").json["role"] == "user"


def test_a_user_reads_its_own_account_and_does_nothing_else_to_it(app, alice):
    for method, path, endpoint in calls(app, alice.id):
        answer = alice.call(method, path, json={"role": "admin"} if method == "PATCH" else None)
        reads = endpoint == "users.read_user"
        assert answer.status_code == (200 if reads else 403), (method, path)
    own = alice.get(f"/users/{alice.id}").json
    assert own == {**alice.get("/auth/me").json, "disabled": False}
    assert own["role"] == "user"


def test_a_personal_token_is_no_session_even_an_administrators(app, admin, alice):
    asked = {"name": "script", "scopes": list(Scope)}
    admin.access_token = admin.post("/auth/tokens", asked).json["token"]
    for method, path, _ in calls(app, alice.id):
        answer = admin.call(method, path)
        assert answer.status_code == 401, (method, path)
        if method != "HEAD":
            assert_problem(answer, 401, "wrong_token_type")


def test_to_an_administrator_an_unknown_account_is_not_found(app, admin, bob):
    others = admin.get("/users").json["data"]
    made = 0
    for method, path, endpoint in calls(app, UNKNOWN):
        if endpoint == "users.list_users":
            continue
        answer = admin.call(method, path, json={"role": "admin"} if method == "PATCH" else None)
        assert answer.status_code == 404, (method, path)
        if method != "HEAD":
            assert_problem(answer, 404, "not_found")
        made += 1
    assert made == 6
    assert admin.get("/users").json["data"] == others


def test_a_lowered_role_loses_the_right_at_the_next_request(admin, accounts):
    other = accounts.make("other", admin=True)
    assert other.get("/users").status_code == 200
    assert admin.patch(f"/users/{other.id}", {"role": "user"}).status_code == 200
    assert_problem(other.get("/users"), 403, "forbidden")
    assert_problem(other.patch(f"/users/{admin.id}", {"role": "user"}), 403, "forbidden")
    assert other.get(f"/users/{other.id}").json["role"] == "user"


def test_a_raised_role_gains_it_at_the_next_request(admin, alice):
    assert_problem(alice.get("/users"), 403, "forbidden")
    admin.patch(f"/users/{alice.id}", {"role": "admin"})
    assert alice.get("/users").status_code == 200
