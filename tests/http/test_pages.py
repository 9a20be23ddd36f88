"""The machinery of lists: cursors that keep a place, and orders of any kind of id."""

import re
from datetime import UTC

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audit.services import EVENTS
from app.auth.personal_tokens import TOKENS
from app.auth.services import SESSIONS
from app.errors import InvalidCursor
from app.extensions import db
from app.http.pages import Kind, Place, _digest, _open_cursor, _plain, _seal_cursor, _typed
from app.jobs.services import JOBS
from app.tasks.listing import TASKS
from app.users.services import USERS

SEAL = _digest("tasks", "due", 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IDS = st.integers(1, 2**63 - 1) | st.text("0123456789abcdef", min_size=32, max_size=32)
KEYS = st.one_of(
    st.tuples(st.just("due"), st.none() | st.datetimes(timezones=st.just(UTC))),
    st.tuples(st.just("title"), TEXT),
    st.tuples(st.just("priority"), st.sampled_from(["none", "urgent"])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(KEYS, IDS)
def test_a_cursor_keeps_any_place(app, sort_and_key, row_id):
    sort, key = sort_and_key
    with app.app_context():
        place = _open_cursor(_seal_cursor(Place(key, row_id), SEAL), SEAL)
    found = None if place.key is None else _typed(place.key, TASKS.sorts[sort])
    assert (found, place.row_id) == (key, row_id)


@pytest.mark.parametrize(
    "other", [("tasks", "due", 2), ("tasks", "-due", 1), ("labels", "due", 1), ("tasks", "due")]
)
def test_a_cursor_opens_under_its_own_seal_alone(app, other):
    with app.app_context():
        cursor = _seal_cursor(Place("a", 1), SEAL)
        with pytest.raises(InvalidCursor):
            _open_cursor(cursor, _digest(*other))


def test_a_cursor_outlives_the_process(app):
    with app.app_context():
        place = Place("a", 1)
        assert _seal_cursor(place, SEAL) == _seal_cursor(place, _digest("tasks", "due", 1))


def test_pages_of_rows_whose_ids_are_text_walk_everything_once(accounts, alice):
    for _ in range(4):
        accounts.log_in("alice")
    whole = alice.get("/auth/sessions").json["data"]
    assert len(whole) == 5
    for limit in (1, 2, 4, 5):
        seen, cursor = [], {}
        while cursor is not None:
            page = alice.get("/auth/sessions", query_string={"limit": limit, **cursor}).json
            seen += page["data"]
            cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
        assert seen == whole


def test_every_list_has_an_order_that_needs_no_asking():
    assert "created_at" in TASKS.sorts
    assert "created_at" in SESSIONS.sorts


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("listing", [EVENTS, JOBS, SESSIONS, TASKS, TOKENS, USERS])
def test_sqlite_finds_a_place_in_any_list_by_its_key_and_its_id(app, listing, sign):
    with app.app_context():
        if db.engine.dialect.name != "sqlite":
            pytest.skip("about SQLite")
        for sort in listing.sorts.keys() - {"username"}:  # which no two accounts share
            kind = Kind(listing, f"{sign}{sort}", (), "with key", "sqlite")
            compiled = _plain(kind)._compile(db.engine.dialect)
            with db.engine.connect() as connection:
                nulls = (None,) * len(compiled.compiled.positiontup)
                found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled.text}", nulls)
                plan = "\n".join(row[-1] for row in found)
            assert re.search(r"\(\w+,(rowid|id)\)[<>]\(\?,\?\)", plan), plan
            assert f"SCAN {listing.row_id.class_.__tablename__}" not in plan, plan
