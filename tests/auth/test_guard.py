"""Number of SQL statements of each authentication route."""

import re

import pytest
from sqlalchemy import select

from app.auth.models import Session
from tests.accounts import PASSWORD

AUTH = "/api/v1/auth"

# Statements per route. Most routes first read the session and its user.
COUNTS = [
    (
        "POST",
        "/register",
        {"username": "eve", "email": "e@example.com", "password": PASSWORD},
        201,
        5,
    ),
    ("POST", "/login", {"username": "alice", "password": PASSWORD}, 200, 4),
    ("POST", "/login", {"username": "nobody", "password": PASSWORD}, 401, 2),
    ("POST", "/refresh", None, 200, 2),
    ("POST", "/reauthenticate", {"password": PASSWORD}, 200, 2),
    ("POST", "/logout", None, 204, 3),
    ("GET", "/sessions", None, 200, 2),
    ("DELETE", "/sessions", None, 204, 4),
    ("DELETE", "/sessions/<token_id:session_id>", None, 204, 3),
    ("GET", "/tokens", None, 200, 2),
    ("POST", "/tokens", {"name": "script", "scopes": ["tasks:read"]}, 201, 5),
    ("GET", "/tokens/<row_id:token_id>", None, 200, 2),
    ("DELETE", "/tokens/<row_id:token_id>", None, 204, 3),
    ("GET", "/me", None, 200, 2),
    ("PATCH", "/me", {"username": "alicia"}, 200, 4),
    ("PATCH", "/me", {"username": "alice"}, 200, 2),
    ("PATCH", "/me", {"email": "new@example.com"}, 200, 8),
    ("DELETE", "/me", None, 204, 4),
    ("GET", "/me/audit", None, 200, 2),
    ("PUT", "/password", {"current_password": PASSWORD, "new_password": "another phrase"}, 204, 8),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "count"), COUNTS)
def test_statement_count_per_route(
    alice, accounts, client, statements, stored, method, path, body, status, count
):
    for _ in range(3):
        accounts.log_in("alice")
    [(other,)] = stored(select(Session.id).order_by(Session.created_at.desc()).limit(1))
    personal_token = alice.post("/auth/tokens", {"name": "one", "scopes": ["tasks:read"]}).json
    token = alice.refresh_token if path == "/refresh" else alice.access_token
    headers = {} if path in {"/register", "/login"} else {"Authorization": f"Bearer {token}"}
    url = AUTH + re.sub(
        "<row_id.*>", str(personal_token["id"]), re.sub("<token_id.*>", other, path)
    )
    with statements() as seen:
        response = client.open(url, method=method, json=body, headers=headers)
    assert response.status_code == status
    assert len(seen) == count, seen


def test_statement_counts_cover_every_route(app):
    routes = {
        (method, rule.rule.removeprefix(AUTH))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("auth.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(method, path) for method, path, *_ in COUNTS}
