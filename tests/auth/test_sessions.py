"""The sessions of an account: seen, and ended."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from app.auth.models import Session
from tests.problems import assert_problem

START = datetime(2030, 1, 31, 9, tzinfo=UTC)


def ids(account):
    return [row["id"] for row in account.get("/auth/sessions").json["data"]]


def current(account):
    rows = account.get("/auth/sessions").json["data"]
    [session_id] = [row["id"] for row in rows if row["current"]]
    return session_id


def test_a_session_is_shown_whole(accounts):
    with time_machine.travel(START, tick=False):
        alice = accounts.make("alice")
        answer = alice.get("/auth/sessions")
        session_id = current(alice)
    assert answer.json == {
        "data": [
            {
                "id": session_id,
                "created_at": "2030-01-31T09:00:00Z",
                "last_used_at": "2030-01-31T09:00:00Z",
                "expires_at": "2030-05-01T09:00:00Z",
                "ip_address": "127.0.0.1",
                "user_agent": answer.request.headers["User-Agent"],
                "current": True,
            }
        ],
        "next_cursor": None,
    }
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in answer.headers["Vary"]


def test_only_ones_own_live_sessions_are_shown_the_newest_first(accounts, bob):
    with time_machine.travel(START, tick=False) as clock:
        accounts.make("alice")
        clock.shift(timedelta(days=31))
        second = accounts.log_in("alice")
        clock.shift(1)
        third = accounts.log_in("alice")
        rows = third.get("/auth/sessions").json["data"]
        assert [row["current"] for row in rows] == [True, False]
        assert [row["id"] for row in rows] == [current(third), current(second)]


def test_the_list_is_read_in_pages(alice, accounts):
    for _ in range(4):
        accounts.log_in("alice")
    seen, cursor = [], {}
    while cursor is not None:
        page = alice.get("/auth/sessions", query_string={"limit": 2, **cursor}).json
        seen += [row["id"] for row in page["data"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    assert seen == ids(alice)
    assert len(set(seen)) == 5


def test_anothers_cursor_leads_nowhere(alice, bob, accounts):
    accounts.log_in("alice")
    cursor = alice.get("/auth/sessions?limit=1").json["next_cursor"]
    assert_problem(
        bob.get("/auth/sessions", query_string={"cursor": cursor}), 422, "invalid_cursor"
    )


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "user_id=1"]
)
def test_an_unacceptable_query_is_refused_by_name(alice, query):
    answer = alice.get(f"/auth/sessions?{query}")
    body = assert_problem(answer, 422, "validation_error")
    assert [fault["parameter"] for fault in body["errors"]] == [query.partition("=")[0]]


def test_ending_a_session_kills_its_tokens_at_once(alice, accounts, stored):
    other = accounts.log_in("alice")
    doomed, kept = current(other), current(alice)
    answer = alice.delete(f"/auth/sessions/{doomed}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored(select(Session.id)) == [(kept,)]
    assert_problem(other.get("/auth/me"), 401, "token_revoked")
    other.access_token = other.refresh_token
    assert_problem(other.post("/auth/refresh"), 401, "token_revoked")
    assert alice.get("/auth/me").status_code == 200
    assert_problem(alice.delete(f"/auth/sessions/{doomed}"), 404, "not_found")


@pytest.mark.parametrize("session_id", ["1", "x" * 32, "A" * 32, "%00", "..", "0" * 33])
def test_an_id_that_can_not_be_one_is_not_found(alice, session_id, stored):
    assert_problem(alice.delete(f"/auth/sessions/{session_id}"), 404, "not_found")
    assert len(stored(select(Session.id))) == 1


def test_ending_all_others_keeps_the_current_one_and_other_peoples(alice, bob, accounts, stored):
    others = [accounts.log_in("alice") for _ in range(3)]
    kept = {(current(alice),), (current(bob),)}
    assert alice.delete("/auth/sessions").status_code == 204
    assert set(stored(select(Session.id))) == kept
    for other in others:
        assert_problem(other.get("/auth/me"), 401, "token_revoked")
