"""JWT signing secrets and clock leeway."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from app import create_app
from app.auth.jwt import key_id
from app.extensions import db
from tests.accounts import PASSWORD, Account
from tests.conftest import SECRET
from tests.forging import OTHER, claims_of, header_of, sign
from tests.problems import assert_problem


@pytest.fixture
def installation(settings, app):
    """Create applications on the same database with other signing secrets."""
    created = []

    def make(secrets):
        other = create_app(settings | {"JWT_SECRET_KEY": secrets})
        created.append(other)
        return other

    yield make
    for other in created:
        with other.app_context():
            db.engine.dispose()


def move_to(account, app):
    account.client = app.test_client()
    return account


def test_rotated_secret_verifies_but_does_not_sign(installation, alice, accounts):
    both = installation(f"{OTHER}, {SECRET}")
    assert move_to(alice, both).get("/auth/me").json["username"] == "alice"
    new = alice.post("/auth/reauthenticate", {"password": PASSWORD}).json
    assert header_of(new["access_token"])["kid"] == key_id(OTHER)
    only_new = installation(OTHER)
    assert_problem(move_to(alice, only_new).get("/auth/me"), 401, "invalid_token")
    alice.access_token = new["access_token"]
    assert alice.get("/auth/me").json["username"] == "alice"


def test_token_of_other_installation_is_rejected(installation, accounts, alice):
    other = installation(OTHER)
    login = {"username": "alice", "password": PASSWORD}
    foreign = Account(alice.client, other.test_client().post("/api/v1/auth/login", json=login).json)
    assert_problem(foreign.get("/auth/me"), 401, "invalid_token")


@pytest.mark.parametrize("seconds", [0, 1, 5])
def test_token_of_server_with_fast_clock_is_accepted(alice, seconds):
    now = int(time.time()) + seconds
    claims = claims_of(alice.access_token) | {"iat": now, "nbf": now, "exp": now + 900}
    alice.access_token = sign(header_of(alice.access_token), claims)
    assert alice.get("/auth/me").status_code == 200


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_token_beyond_leeway_is_not_yet_valid(alice, claim):
    claims = claims_of(alice.access_token) | {claim: int(time.time()) + 10}
    alice.access_token = sign(header_of(alice.access_token), claims)
    assert_problem(alice.get("/auth/me"), 401, "invalid_token")


@pytest.mark.parametrize("cached", [True, False])
def test_token_expires_after_leeway(accounts, cached):
    with time_machine.travel(datetime(2030, 1, 31, 9, tzinfo=UTC), tick=False) as clock:
        alice = accounts.make("alice")
        if cached:
            assert alice.get("/auth/me").status_code == 200
        clock.shift(timedelta(minutes=15, seconds=4))
        if cached:
            assert alice.get("/auth/me").status_code == 200
        clock.shift(1)
        assert_problem(alice.get("/auth/me"), 401, "token_expired")
