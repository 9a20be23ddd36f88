"""Number of SQL statements of each second-factor route."""

import pytest
from pyotp import TOTP

from tests.mfa.conftest import STEP

# Statements per route. Routes with a token first read the session and its user.
COUNTS = [
    ("POST", "/totp", None, 201, 4),
    ("POST", "/totp", "enrolled", 201, 4),
    ("GET", "/totp", "confirmed", 200, 2),
    ("POST", "/totp/confirm", "enrolled", 200, 6),
    ("DELETE", "/totp", "confirmed", 204, 6),
    ("POST", "/login/second-factor", "totp", 200, 5),
    ("POST", "/login/second-factor", "recovery", 200, 6),
    ("POST", "/login/second-factor", "wrong", 401, 4),
]


@pytest.fixture
def body(clock, alice, challenge, before):
    """Create the state named ``before``, and return the body of the request."""
    if before is None:
        return None
    if before == "enrolled":
        return {"code": TOTP(alice.post("/auth/totp").json["secret"]).now()}
    totp, recovery_codes = alice.enable_second_factor()
    used_code = totp.now()
    clock.shift(STEP)
    codes = {"totp": totp.now(), "recovery": recovery_codes[0], "wrong": used_code}
    return {"challenge": challenge(), "code": codes[before]} if before in codes else None


@pytest.mark.parametrize(("method", "path", "before", "status", "count"), COUNTS)
def test_statement_count(app, alice, body, statements, before, method, path, status, count):
    if before == "recovery" and app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql"):
        count -= 1  # PostgreSQL inserts both audit events in one statement
    with statements() as seen:
        response = alice.call(method, f"/auth{path}", json=body if "/" in path[1:] else None)
    assert response.status_code == status
    assert len(seen) == count, seen


def test_statement_counts_cover_every_route(app):
    routes = {
        (method, rule.rule.removeprefix("/api/v1/auth"))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("mfa.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(method, path) for method, path, *_ in COUNTS}
