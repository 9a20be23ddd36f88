"""Rotation of refresh tokens: each works once, and one that comes back was stolen (RFC 9700)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

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


@pytest.mark.parametrize("seconds", [11, 600])
def test_a_spent_token_that_comes_back_later_ends_the_session(clock, alice, spend, stored, seconds):
    newest = spend(alice.refresh_token).json
    clock.shift(seconds)
    assert_problem(spend(alice.refresh_token), 401, "token_reused")
    assert stored(IDS) == []
    assert_problem(spend(newest["refresh_token"]), 401, "token_revoked")
    alice.access_token = newest["access_token"]
    assert_problem(alice.get("/tasks"), 401, "token_revoked")


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


def test_a_session_ends_when_it_has_been_idle_for_thirty_days(clock, alice, spend):
    clock.shift(timedelta(days=30) - timedelta(seconds=1))
    newest = spend(alice.refresh_token).json["refresh_token"]
    clock.shift(timedelta(days=30))
    assert_problem(spend(newest), 401, "token_expired")


def test_no_refreshing_carries_a_session_past_ninety_days(clock, alice, spend):
    token, left = alice.refresh_token, []
    for _ in range(3):
        clock.shift(timedelta(days=29))
        pair = spend(token).json
        token = pair["refresh_token"]
        left.append(pair["refresh_expires_in"] // 86400)
    assert left == [30, 30, 3]
    clock.shift(timedelta(days=3, minutes=-5))
    pair = spend(token).json
    assert pair["refresh_expires_in"] == 300
    alice.access_token = pair["access_token"]
    assert alice.get("/auth/me").status_code == 200
    clock.shift(300)
    assert_problem(spend(pair["refresh_token"]), 401, "token_expired")
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")


def test_an_access_token_refreshes_nothing(alice, spend, stored):
    before = stored(select(Session.refresh_id))
    assert_problem(spend(alice.access_token), 401, "wrong_token_type")
    assert stored(select(Session.refresh_id)) == before


def test_after_logout_nothing_can_be_refreshed(alice, spend, stored):
    alice.post("/auth/logout")
    assert_problem(spend(alice.refresh_token), 401, "token_revoked")
    assert stored(IDS) == []


def test_after_parallel_refreshes_one_chain_goes_on(clock, app, alice, spend, stored):
    start = Barrier(8)

    def refresh(_):
        client = app.test_client()
        start.wait()
        headers = {"Authorization": f"Bearer {alice.refresh_token}"}
        return client.post("/api/v1/auth/refresh", headers=headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(refresh, range(8)))
    tokens = [answer.json["refresh_token"] for answer in answers if answer.status_code == 200]
    assert len(tokens) == 8
    [(good,)] = stored(select(Session.refresh_id))
    [chain] = [token for token in tokens if claims(token)["jti"] == good]
    clock.shift(11)
    assert spend(chain).status_code == 200
    clock.shift(11)
    for token in tokens:
        if token != chain:
            assert spend(token).status_code == 401
    assert stored(IDS) == []


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
