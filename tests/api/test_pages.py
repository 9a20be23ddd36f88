"""Keyset pagination: cursors, and the statements of every list."""

import re
import sys
from datetime import UTC

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from app.auth.services.sessions import SESSIONS
from app.db.compiled import Compiled
from app.db.pagination import (
    CursorPosition,
    KeysetPaginator,
    KeysetSegments,
    PageQuery,
    decode_cursor,
    encode_cursor,
    make_signature,
    parse_key,
)
from app.errors import InvalidCursor
from app.extensions import db
from app.tasks.listing import TASKS

SIGNATURE = make_signature("tasks", "due", 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IDS = st.integers(1, 2**63 - 1) | st.text("0123456789abcdef", min_size=32, max_size=32)
# Every list of the API. The export of all data has lists of its own, of few rows for each user.
PAGINATORS = sorted(
    {
        value
        for name, module in list(sys.modules.items())
        if name.startswith("app.") and not name.startswith("app.data_export.")
        for value in vars(module).values()
        if isinstance(value, KeysetPaginator)
    },
    key=lambda paginator: paginator.name,
)
KEYS = st.one_of(
    st.tuples(st.just("due"), st.none() | st.datetimes(timezones=st.just(UTC))),
    st.tuples(st.just("title"), TEXT),
    st.tuples(st.just("priority"), st.sampled_from(["none", "urgent"])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@hypothesis.given(KEYS, IDS)
def test_cursor_round_trip(app, sort_and_key, row_id):
    sort, key = sort_and_key
    with app.app_context():
        cursor = encode_cursor(CursorPosition(key, row_id), SIGNATURE)
        position = decode_cursor(cursor, SIGNATURE)
    assert (parse_key(position.key, TASKS.sorts[sort]), position.row_id) == (key, row_id)


@pytest.mark.parametrize(
    "other", [("tasks", "due", 2), ("tasks", "-due", 1), ("labels", "due", 1), ("tasks", "due")]
)
def test_cursor_of_another_list_is_invalid(app, other):
    with app.app_context():
        cursor = encode_cursor(CursorPosition("a", 1), SIGNATURE)
        with pytest.raises(InvalidCursor):
            decode_cursor(cursor, make_signature(*other))


def test_cursor_outlives_the_process(app):
    with app.app_context():
        position = CursorPosition("a", 1)
        again = encode_cursor(position, make_signature("tasks", "due", 1))
        assert encode_cursor(position, SIGNATURE) == again


def test_pages_with_text_ids_contain_each_row_once(accounts, alice):
    for _ in range(4):
        accounts.log_in("alice")
    whole = alice.get("/auth/sessions").json["data"]
    assert len(whole) == 5
    for limit in (1, 2, 4, 5):
        rows, cursor = [], {}
        while cursor is not None:
            page = alice.get("/auth/sessions", query_string={"limit": limit, **cursor}).json
            rows += page["data"]
            cursor = page["next_cursor"] and {"cursor": page["next_cursor"]}
        assert rows == whole


@pytest.mark.parametrize("paginator", PAGINATORS, ids=lambda paginator: paginator.name)
def test_lists_have_a_default_sort(paginator):
    assert "created_at" in paginator.sorts


def test_every_list_is_tested():
    assert {TASKS, SESSIONS} <= set(PAGINATORS)


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("paginator", PAGINATORS, ids=lambda paginator: paginator.name)
def test_sqlite_seeks_a_position_by_key_and_id(app, paginator, sign):
    with app.app_context():
        if db.engine.dialect.name != "sqlite":
            pytest.skip("about SQLite")
        for sort in paginator.sorts.keys() - {"username"}:  # unique, so the key suffices
            query = PageQuery(paginator, f"{sign}{sort}", (), "after key", "sqlite")
            statement = KeysetSegments(query).select_page()
            compiled = Compiled.of(statement, db.engine.dialect, json_ready=True)
            with db.engine.connect() as connection:
                nulls = (None,) * len(compiled.bind_names)
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled.text}", nulls)
                plan = "\n".join(row[-1] for row in rows)
            assert re.search(r"\(\w+,(rowid|id)\)[<>]\(\?,\?\)", plan), plan
            assert f"SCAN {paginator.row_id.class_.__tablename__}" not in plan, plan
