"""Signing secrets: rotated, and those of another installation."""

import pytest

from app import create_app
from app.auth.tokens import key_id
from app.extensions import db
from tests.accounts import PASSWORD, Account
from tests.conftest import SECRET
from tests.forging import OTHER, header_of
from tests.problems import assert_problem


@pytest.fixture
def installation(settings, app):
    """Makes an application on the same database, with other signing secrets."""
    made = []

    def make(secrets):
        other = create_app(settings | {"JWT_SECRET_KEY": secrets})
        made.append(other)
        return other

    yield make
    for other in made:
        with other.app_context():
            db.engine.dispose()


def moved(account, app):
    account.client = app.test_client()
    return account


def test_a_rotated_secret_still_verifies_and_no_longer_signs(installation, alice, accounts):
    both = installation(f"{OTHER}, {SECRET}")
    assert moved(alice, both).get("/auth/me").json["username"] == "alice"
    new = alice.post("/auth/reauthenticate", {"password": PASSWORD}).json
    assert header_of(new["access_token"])["kid"] == key_id(OTHER)
    only_new = installation(OTHER)
    assert_problem(moved(alice, only_new).get("/auth/me"), 401, "invalid_token")
    alice.access_token = new["access_token"]
    assert alice.get("/auth/me").json["username"] == "alice"


def test_another_installations_token_is_refused(installation, accounts, alice):
    stranger = installation(OTHER)
    login = {"username": "alice", "password": PASSWORD}
    theirs = Account(
        alice.client, stranger.test_client().post("/api/v1/auth/login", json=login).json
    )
    assert_problem(theirs.get("/auth/me"), 401, "invalid_token")
