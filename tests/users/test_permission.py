"""Only administrators may use the endpoints of users; others may only read themselves."""

import re

import pytest

from app.auth.models import Scope
from tests.problems import assert_problem

UNKNOWN = 10**6


def operations(app, user_id):
    """Yield every operation of the users blueprint, for one user."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("users."):
            path = re.sub("<row_id:user_id>", str(user_id), rule.rule.removeprefix("/api/v1"))
            for method in rule.methods - {"OPTIONS"}:
                yield method, path, rule.endpoint


# Valid and invalid requests, which must be rejected alike.
REQUESTS = [
    {},
    {"json": {"role": "admin"}},
    {"json": {"no": "such field"}},
    {"data": "{", "content_type": "application/json"},
    {"data": "x=1", "content_type": "text/plain"},
    {"query_string": {"limit": "x", "no": "such"}},
    {"headers": {"Accept": "text/html"}},
]


@pytest.mark.parametrize("request_args", REQUESTS)
def test_user_is_forbidden_whether_or_not_the_target_exists(app, alice, bob, admin, request_args):
    bodies = set()
    request_count = 0
    for user_id in (bob.id, admin.id, UNKNOWN):
        for method, path, _ in operations(app, user_id):
            response = alice.call(method, path, **request_args)
            assert response.status_code == 403, (method, path)
            if method != "HEAD":
                body = assert_problem(response, 403, "forbidden")
                del body["instance"], body["request_id"]
                bodies.add(str(body))
            request_count += 1
    assert len(bodies) == 1
    assert request_count == 3 * 8
    assert bob.get("/auth/me").json["role"] == "user"


def test_user_can_only_read_itself(app, alice):
    for method, path, endpoint in operations(app, alice.id):
        response = alice.call(method, path, json={"role": "admin"} if method == "PATCH" else None)
        reads = endpoint == "users.read_user"
        assert response.status_code == (200 if reads else 403), (method, path)
    own = alice.get(f"/users/{alice.id}").json
    assert own == {**alice.get("/auth/me").json, "disabled": False}
    assert own["role"] == "user"


def test_personal_token_of_administrator_is_rejected(app, admin, alice):
    payload = {"name": "script", "scopes": list(Scope)}
    admin.access_token = admin.post("/auth/tokens", payload).json["token"]
    for method, path, _ in operations(app, alice.id):
        response = admin.call(method, path)
        assert response.status_code == 401, (method, path)
        if method != "HEAD":
            assert_problem(response, 401, "wrong_token_type")


def test_unknown_user_is_not_found_for_administrator(app, admin, bob):
    before = admin.get("/users").json["data"]
    request_count = 0
    for method, path, endpoint in operations(app, UNKNOWN):
        if endpoint == "users.list_users":
            continue
        response = admin.call(method, path, json={"role": "admin"} if method == "PATCH" else None)
        assert response.status_code == 404, (method, path)
        if method != "HEAD":
            assert_problem(response, 404, "not_found")
        request_count += 1
    assert request_count == 6
    assert admin.get("/users").json["data"] == before


def test_demotion_takes_effect_at_next_request(admin, accounts):
    other = accounts.make("other", admin=True)
    assert other.get("/users").status_code == 200
    assert admin.patch(f"/users/{other.id}", {"role": "user"}).status_code == 200
    assert_problem(other.get("/users"), 403, "forbidden")
    assert_problem(other.patch(f"/users/{admin.id}", {"role": "user"}), 403, "forbidden")
    assert other.get(f"/users/{other.id}").json["role"] == "user"


def test_promotion_takes_effect_at_next_request(admin, alice):
    assert_problem(alice.get("/users"), 403, "forbidden")
    admin.patch(f"/users/{alice.id}", {"role": "admin"})
    assert alice.get("/users").status_code == 200
