"""Cursors are valid only for the list that they were made for."""

import string

import pytest
from itsdangerous import URLSafeSerializer

from tests.conftest import SECRET
from tests.problems import assert_problem

QUERY = {"sort": "due", "limit": 1, "status": "pending"}


@pytest.fixture
def cursor(alice):
    for day in (1, 2, 3):
        alice.task("Secret", due_date=f"2030-01-0{day}")
    return alice.get("/tasks", query_string=QUERY).json["next_cursor"]


def assert_rejected(response):
    body = assert_problem(response, 422, "invalid_cursor")
    detail = "The cursor does not match this list, sort and filters."
    assert body["detail"] == detail
    assert body["errors"] == [{"parameter": "cursor", "detail": detail}]
    assert "Link" not in response.headers


def test_cursor_can_be_reused(alice, cursor):
    for _ in range(2):
        [task] = alice.get("/tasks", query_string=QUERY | {"cursor": cursor}).json["data"]
        assert task["due_date"] == "2030-01-02"


@pytest.mark.parametrize(
    "other",
    [
        {"sort": "-due"},
        {"sort": "title"},
        {"status": "pending,completed"},
        {"status": "completed"},
        {"priority": "none"},
        {"has_due": "true"},
        {"overdue": "false"},
        {"due_before": "2031-01-01"},
        {"owner_id": "1"},
    ],
)
def test_cursor_of_other_sort_filter_or_owner_is_rejected(alice, cursor, other):
    assert_rejected(alice.get("/tasks", query_string=QUERY | other | {"cursor": cursor}))


def test_cursor_without_its_filter_is_rejected(alice, cursor):
    assert_rejected(alice.get("/tasks", query_string={"sort": "due", "cursor": cursor}))


def test_cursor_of_another_user_is_rejected_even_for_administrators(alice, bob, admin, cursor):
    query = QUERY | {"cursor": cursor}
    assert_rejected(bob.get("/tasks", query_string=query))
    assert_rejected(admin.get("/tasks", query_string=query | {"owner_id": alice.id}))


def test_cursor_of_another_list_is_rejected(accounts, alice):
    accounts.log_in("alice")
    for _ in range(2):
        alice.task()
    sessions = alice.get("/auth/sessions?limit=1").json["next_cursor"]
    tasks = alice.get("/tasks?limit=1").json["next_cursor"]
    assert_rejected(alice.get("/tasks", query_string={"cursor": sessions}))
    assert_rejected(alice.get("/auth/sessions", query_string={"cursor": tasks}))


def test_altered_cursor_is_rejected(alice, cursor):
    for index, character in enumerate(cursor):
        other = next(c for c in "Aa" if c != character)
        altered = cursor[:index] + other + cursor[index + 1 :]
        assert_rejected(alice.get("/tasks", query_string=QUERY | {"cursor": altered}))


def test_only_the_canonical_encoding_of_a_cursor_is_accepted(alice, cursor):
    alphabet = string.ascii_letters + string.digits + "-_=!. "
    others = {cursor[:-1] + character for character in alphabet} - {cursor}
    others |= {cursor + character for character in alphabet}
    for other in others:
        assert_rejected(alice.get("/tasks", query_string=QUERY | {"cursor": other}))


def test_truncated_cursor_is_rejected(alice, cursor):
    for length in range(1, len(cursor)):
        assert_rejected(alice.get("/tasks", query_string=QUERY | {"cursor": cursor[:length]}))


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "50",
        "null",
        "..",
        "e30.e30",
        "é",
        "\N{GRINNING FACE}",
        "' OR 1=1",
        "",
        "x" * 5000,
        "\0",
    ],
)
def test_malformed_cursor_is_rejected(alice, cursor):
    assert_rejected(alice.get("/tasks", query_string={"cursor": cursor}))


def test_cursor_signed_with_other_salt_is_rejected(alice, cursor):
    for salt in ("itsdangerous", "cookie-session", "session"):
        payload = URLSafeSerializer(SECRET, salt="cursor").loads(cursor)
        forged = URLSafeSerializer(SECRET, salt=salt).dumps(payload)
        assert_rejected(alice.get("/tasks", query_string=QUERY | {"cursor": forged}))
