"""Rotation of refresh tokens: each works once, and one that comes back was stolen (RFC 9700)."""

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
    """The time of day, which stands still until it is shifted."""
    with time_machine.travel(LOGIN, tick=False) as traveller:
        yield traveller


@pytest.fixture
def spend(client):
    def call(token):
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/api/v1/auth/refresh", headers=headers)

    return call


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_refresh_answers_a_new_pair_of_the_same_session(clock, alice, spend, stored):
    clock.shift(60)
    answer = spend(alice.refresh_token)
    assert answer.status_code == 200
    pair = answer.json
    assert set(pair) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "refresh_expires_in",
    }
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 900)
    assert pair["refresh_expires_in"] == 30 * 86400
    assert answer.headers["Cache-Control"] == "no-store"
    sessions = {claims(token)["sid"] for token in (pair["access_token"], pair["refresh_token"])}
    moment = LOGIN + timedelta(seconds=60)
    columns = (Session.id, Session.refreshed_at, Session.last_used_at, Session.expires_at)
    ends = LOGIN + timedelta(days=90)
    assert stored(select(*columns)) == [(sessions.pop(), moment, moment, ends)]
    assert not sessions
    assert claims(pair["refresh_token"])["jti"] != claims(alice.refresh_token)["jti"]


def test_a_refreshed_access_token_works_and_is_not_fresh(alice, spend):
    alice.access_token = spend(alice.refresh_token).json["access_token"]
    assert alice.get("/auth/me").json["username"] == "alice"
    assert_problem(alice.delete("/auth/me"), 401, "fresh_token_required")


@pytest.mark.parametrize("seconds", [0, 9, 10])
def test_a_client_that_lost_the_answer_may_ask_again(clock, alice, spend, stored, seconds):
    clock.shift(60)
    spend(alice.refresh_token)
    clock.shift(seconds)
    again = spend(alice.refresh_token)
    assert again.status_code == 200
    assert spend(again.json["refresh_token"]).status_code == 200
    assert len(stored(IDS)) == 1


def test_reuse_ends_no_other_session(clock, accounts, alice, spend, stored):
    other = accounts.log_in("alice")
    spend(alice.refresh_token)
    clock.shift(11)
    spend(alice.refresh_token)
    assert stored(IDS) == [(claims(other.access_token)["sid"],)]
    assert other.get("/auth/me").status_code == 200


def test_asking_again_makes_the_first_answer_worthless(clock, alice, spend, stored):
    sibling = spend(alice.refresh_token).json["refresh_token"]
    newest = spend(alice.refresh_token).json["refresh_token"]
    assert_problem(spend(sibling), 401, "token_reused")
    assert len(stored(IDS)) == 1
    newest = spend(newest).json["refresh_token"]
    clock.shift(11)
    assert_problem(spend(sibling), 401, "token_reused")
    assert stored(IDS) == []
    assert_problem(spend(newest), 401, "token_revoked")


def test_a_password_proved_anew_gives_a_fresh_token_of_the_same_session(alice, spend, stored):
    alice.access_token = spend(alice.refresh_token).json["access_token"]
    answer = alice.post("/auth/reauthenticate", {"password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "token_type", "expires_in"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert stored(IDS) == [(claims(answer.json["access_token"])["sid"],)]
    alice.access_token = answer.json["access_token"]
    assert alice.delete("/auth/me").status_code == 204


def test_reauthenticating_needs_the_right_password(alice):
    answer = alice.post("/auth/reauthenticate", {"password": "not the password"})
    assert_problem(answer, 401, "invalid_credentials")


def test_a_token_spent_long_ago_ends_the_session_however_recent_the_last_refresh(
    clock, alice, spend, stored
):
    clock.shift(60)
    second = spend(alice.refresh_token).json["refresh_token"]
    clock.shift(40)
    spend(second)
    clock.shift(5)
    assert_problem(spend(alice.refresh_token), 401, "token_reused")
    assert stored(IDS) == []


def test_a_token_spent_seconds_ago_is_refused_and_ends_nothing(clock, alice, spend, stored):
    clock.shift(60)
    second = spend(alice.refresh_token).json["refresh_token"]
    clock.shift(2)
    third = spend(second).json["refresh_token"]
    clock.shift(2)
    assert_problem(spend(alice.refresh_token), 401, "token_reused")
    assert len(stored(IDS)) == 1
    assert spend(third).status_code == 200
