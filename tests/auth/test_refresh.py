"""Rotation of refresh tokens, and detection of reused ones (RFC 9700)."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
import time_machine
from sqlalchemy import select

from app.auth.models import Session
from tests.accounts import PASSWORD
from tests.problems import assert_problem

LOGIN = datetime(2030, 1, 31, 9, tzinfo=UTC)
IDS = select(Session.id)


@pytest.fixture
def clock():
    """Freeze the time until it is shifted."""
    with time_machine.travel(LOGIN, tick=False) as frozen:
        yield frozen


@pytest.fixture
def refresh(client):
    """Send a refresh token to the refresh endpoint."""

    def call(token):
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/api/v1/auth/refresh", headers=headers)

    return call


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_refresh_returns_new_tokens_of_same_session(clock, alice, refresh, stored):
    clock.shift(60)
    response = refresh(alice.refresh_token)
    assert response.status_code == 200
    tokens = response.json
    assert set(tokens) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_expires_in",
    }
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    assert tokens["refresh_expires_in"] == 30 * 86400
    assert response.headers["Cache-Control"] == "no-store"
    sessions = {claims(token)["sid"] for token in (tokens["access_token"], tokens["refresh_token"])}
    moment = LOGIN + timedelta(seconds=60)
    columns = (Session.id, Session.refreshed_at, Session.last_used_at, Session.expires_at)
    ends = LOGIN + timedelta(days=90)
    assert stored(select(*columns)) == [(sessions.pop(), moment, moment, ends)]
    assert not sessions
    assert claims(tokens["refresh_token"])["jti"] != claims(alice.refresh_token)["jti"]


def test_refreshed_access_token_is_not_fresh(alice, refresh):
    alice.access_token = refresh(alice.refresh_token).json["access_token"]
    assert alice.get("/auth/me").json["username"] == "alice"
    assert_problem(alice.delete("/auth/me"), 401, "fresh_token_required")


@pytest.mark.parametrize("seconds", [0, 9, 10])
def test_refresh_can_be_repeated_within_grace_period(clock, alice, refresh, stored, seconds):
    clock.shift(60)
    refresh(alice.refresh_token)
    clock.shift(seconds)
    repeated = refresh(alice.refresh_token)
    assert repeated.status_code == 200
    assert refresh(repeated.json["refresh_token"]).status_code == 200
    assert len(stored(IDS)) == 1


def test_reuse_does_not_end_other_sessions(clock, accounts, alice, refresh, stored):
    other = accounts.log_in("alice")
    refresh(alice.refresh_token)
    clock.shift(11)
    refresh(alice.refresh_token)
    assert stored(IDS) == [(claims(other.access_token)["sid"],)]
    assert other.get("/auth/me").status_code == 200


def test_repeated_refresh_invalidates_first_response(clock, alice, refresh, stored):
    first = refresh(alice.refresh_token).json["refresh_token"]
    newest = refresh(alice.refresh_token).json["refresh_token"]
    assert_problem(refresh(first), 401, "token_reused")
    assert len(stored(IDS)) == 1
    newest = refresh(newest).json["refresh_token"]
    clock.shift(11)
    assert_problem(refresh(first), 401, "token_reused")
    assert stored(IDS) == []
    assert_problem(refresh(newest), 401, "token_revoked")


def test_reauthentication_returns_fresh_token_of_same_session(alice, refresh, stored):
    alice.access_token = refresh(alice.refresh_token).json["access_token"]
    response = alice.post("/auth/reauthenticate", {"password": PASSWORD})
    assert response.status_code == 200
    assert set(response.json) == {"access_token", "token_type", "expires_in"}
    assert response.headers["Cache-Control"] == "no-store"
    assert stored(IDS) == [(claims(response.json["access_token"])["sid"],)]
    alice.access_token = response.json["access_token"]
    assert alice.delete("/auth/me").status_code == 204


def test_reauthentication_requires_correct_password(alice):
    response = alice.post("/auth/reauthenticate", {"password": "not the password"})
    assert_problem(response, 401, "invalid_credentials")


def test_reuse_of_old_token_ends_session_despite_recent_refresh(clock, alice, refresh, stored):
    clock.shift(60)
    second = refresh(alice.refresh_token).json["refresh_token"]
    clock.shift(40)
    refresh(second)
    clock.shift(5)
    assert_problem(refresh(alice.refresh_token), 401, "token_reused")
    assert stored(IDS) == []


def test_reuse_of_recent_token_is_rejected_without_ending_session(clock, alice, refresh, stored):
    clock.shift(60)
    second = refresh(alice.refresh_token).json["refresh_token"]
    clock.shift(2)
    third = refresh(second).json["refresh_token"]
    clock.shift(2)
    assert_problem(refresh(alice.refresh_token), 401, "token_reused")
    assert len(stored(IDS)) == 1
    assert refresh(third).status_code == 200
