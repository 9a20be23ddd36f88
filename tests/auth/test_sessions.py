"""The list of sessions, and their end."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from app.auth.models import Session
from tests.problems import assert_problem

START = datetime(2030, 1, 31, 9, tzinfo=UTC)


def ids(account):
    return [row["id"] for row in account.get("/auth/sessions").json["data"]]


def current_session_id(account):
    rows = account.get("/auth/sessions").json["data"]
    [session_id] = [row["id"] for row in rows if row["current"]]
    return session_id


def test_list_shows_all_fields(accounts):
    with time_machine.travel(START, tick=False):
        alice = accounts.make("alice")
        response = alice.get("/auth/sessions")
        session_id = current_session_id(alice)
    assert response.json == {
        "data": [
            {
                "id": session_id,
                "created_at": "2030-01-31T09:00:00.000000Z",
                "last_used_at": "2030-01-31T09:00:00.000000Z",
                "expires_at": "2030-05-01T09:00:00.000000Z",
                "ip_address": "127.0.0.1",
                "user_agent": response.request.headers["User-Agent"],
                "current": True,
            }
        ],
        "next_cursor": None,
    }
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in response.headers["Vary"]


def test_list_has_own_active_sessions_newest_first(accounts, bob):
    with time_machine.travel(START, tick=False) as clock:
        accounts.make("alice")
        clock.shift(timedelta(days=31))
        second = accounts.log_in("alice")
        clock.shift(1)
        third = accounts.log_in("alice")
        rows = third.get("/auth/sessions").json["data"]
        assert [row["current"] for row in rows] == [True, False]
        assert [row["id"] for row in rows] == [
            current_session_id(third),
            current_session_id(second),
        ]


def test_list_is_paginated(alice, accounts):
    for _ in range(4):
        accounts.log_in("alice")
    seen, cursor = [], {}
    while cursor is not None:
        page = alice.get("/auth/sessions", query_string={"limit": 2, **cursor}).json
        seen += [row["id"] for row in page["data"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    assert seen == ids(alice)
    assert len(set(seen)) == 5


def test_cursor_of_another_user_is_rejected(alice, bob, accounts):
    accounts.log_in("alice")
    cursor = alice.get("/auth/sessions?limit=1").json["next_cursor"]
    assert_problem(
        bob.get("/auth/sessions", query_string={"cursor": cursor}), 422, "invalid_cursor"
    )


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "user_id=1"]
)
def test_invalid_query_parameter_is_reported(alice, query):
    response = alice.get(f"/auth/sessions?{query}")
    body = assert_problem(response, 422, "validation_error")
    assert [error["parameter"] for error in body["errors"]] == [query.partition("=")[0]]


def test_ended_session_revokes_its_tokens_at_once(alice, accounts, stored):
    other = accounts.log_in("alice")
    ended, current = current_session_id(other), current_session_id(alice)
    response = alice.delete(f"/auth/sessions/{ended}")
    assert (response.status_code, response.data) == (204, b"")
    assert stored(select(Session.id)) == [(current,)]
    assert_problem(other.get("/auth/me"), 401, "token_revoked")
    other.access_token = other.refresh_token
    assert_problem(other.post("/auth/refresh"), 401, "token_revoked")
    assert alice.get("/auth/me").status_code == 200
    assert_problem(alice.delete(f"/auth/sessions/{ended}"), 404, "not_found")


@pytest.mark.parametrize("session_id", ["1", "x" * 32, "A" * 32, "%00", "..", "0" * 33])
def test_malformed_id_is_not_found(alice, session_id, stored):
    assert_problem(alice.delete(f"/auth/sessions/{session_id}"), 404, "not_found")
    assert len(stored(select(Session.id))) == 1


def test_ending_other_sessions_keeps_current_and_those_of_others(alice, bob, accounts, stored):
    others = [accounts.log_in("alice") for _ in range(3)]
    remaining = {(current_session_id(alice),), (current_session_id(bob),)}
    assert alice.delete("/auth/sessions").status_code == 204
    assert set(stored(select(Session.id))) == remaining
    for other in others:
        assert_problem(other.get("/auth/me"), 401, "token_revoked")
