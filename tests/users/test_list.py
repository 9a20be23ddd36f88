"""The list of users, for administrators: filters, sort orders and pages."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import update

from app.auth.models import User
from app.extensions import db
from tests.problems import assert_problem, parameters

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)
KEYS = ["id", "username", "email", "email_verified", "role", "time_zone"]
KEYS += ["notify_on_create", "notify_when_due", "notices_active"]
KEYS += ["created_at", "updated_at", "disabled"]


@pytest.fixture
def root(accounts):
    """Create users at intervals of a minute; return the last one, an administrator."""
    with time_machine.travel(MOMENT, tick=False) as clock:
        for name in ("Zoe", "adam", "Mary", "b_b", "B.B", "root"):
            account = accounts.make(name, admin=name in {"adam", "root"})
            clock.shift(timedelta(minutes=1))
        yield account


@pytest.fixture
def names(root):
    def read(**query):
        response = root.get("/users", query_string=query)
        assert response.status_code == 200, response.text
        return [user["username"] for user in response.json["data"]]

    return read


def test_list_shows_all_users_newest_first(root, names):
    assert names() == ["root", "B.B", "b_b", "Mary", "adam", "Zoe"]
    first = root.get("/users").json["data"][0]
    assert list(first) == KEYS
    assert first == root.get(f"/users/{root.id}").json
    assert first["created_at"] == "2040-01-31T09:05:00.000000Z"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("created_at", ["Zoe", "adam", "Mary", "b_b", "B.B", "root"]),
        ("-created_at", ["root", "B.B", "b_b", "Mary", "adam", "Zoe"]),
        # By code point of the lower-case username, the same on every database.
        ("username", ["adam", "B.B", "b_b", "Mary", "root", "Zoe"]),
        ("-username", ["Zoe", "root", "Mary", "b_b", "B.B", "adam"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 4, 200])
def test_pages_contain_each_user_once_in_every_order(root, names, sort, order, limit):
    query, seen = {"sort": sort, "limit": limit}, []
    while True:
        page = root.get("/users", query_string=query)
        seen += [user["username"] for user in page.json["data"]]
        assert ("Link" in page.headers) == (page.json["next_cursor"] is not None)
        if page.json["next_cursor"] is None:
            break
        query["cursor"] = page.json["next_cursor"]
    assert seen == order


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"role": "admin"}, ["root", "adam"]),
        ({"role": "user"}, ["B.B", "b_b", "Mary", "Zoe"]),
        ({"disabled": "true"}, ["Mary"]),
        ({"disabled": "false"}, ["root", "B.B", "b_b", "adam", "Zoe"]),
        ({"email_verified": "true"}, ["Zoe"]),
        ({"email_verified": "false", "role": "user"}, ["B.B", "b_b", "Mary"]),
        ({"username": "ZOE"}, ["Zoe"]),
        ({"username": " mary "}, ["Mary"]),
        ({"username": "b.b"}, ["B.B"]),
        ({"username": "b%"}, []),
        ({"username": "mar"}, []),
        ({"email": "MARY@Example.COM"}, ["Mary"]),
        ({"email": "mary"}, []),
        ({"email": "mary@example.com", "role": "admin"}, []),
        ({"created_after": "2040-01-31T09:04:00Z"}, ["root"]),
        ({"created_after": "2040-01-31T10:03:59+01:00"}, ["root", "B.B"]),
    ],
)
def test_filters_select_users(app, root, names, query, expected):
    with app.app_context():
        mary, zoe = User.username_key == "mary", User.username_key == "zoe"
        db.session.execute(update(User).where(mary).values(disabled_at=MOMENT))
        db.session.execute(update(User).where(zoe).values(email_verified=True))
        db.session.commit()
    assert names(**query) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("role", "root"),
        ("disabled", "1"),
        ("disabled", ""),
        ("email_verified", "True"),
        ("created_after", "yesterday"),
        ("created_after", "2040-01-31T09:04:00"),
        ("username", ""),
        ("username", "a\0b"),
        ("email", "\0"),
        ("sort", "password_hash"),
        ("sort", "email"),
        ("limit", "0"),
        ("limit", "201"),
        ("q", "zoe"),
        ("id", "1"),
    ],
)
def test_invalid_query_parameter_of_list_is_reported(admin, name, value):
    assert parameters(admin.get("/users", query_string={name: value})) == {name}


def test_cursor_is_bound_to_sort_and_filters(root):
    first = root.get("/users", query_string={"limit": 1, "role": "user"}).json
    for other in ({"role": "admin"}, {}, {"role": "user", "sort": "username"}):
        query = {"cursor": first["next_cursor"], **other}
        assert_problem(root.get("/users", query_string=query), 422, "invalid_cursor")
    query = {"cursor": first["next_cursor"], "role": "user", "limit": 2}
    assert len(root.get("/users", query_string=query).json["data"]) == 2


def test_unchanged_list_returns_304(admin):
    first = admin.get("/users")
    repeated = admin.get("/users", headers={"If-None-Match": first.headers["ETag"]})
    assert (repeated.status_code, repeated.data) == (304, b"")
    assert repeated.headers["Cache-Control"] == "private, no-cache"


def test_responses_contain_no_password_hash(admin, alice):
    for path in ("/users", f"/users/{alice.id}"):
        text = admin.get(path).text
        assert "password" not in text
        assert "argon2" not in text


@pytest.mark.parametrize("query", [{}, {"sort": "username"}, {"role": "user", "disabled": "false"}])
def test_list_runs_two_statements(root, statements, query):
    with statements() as seen:
        assert root.get("/users", query_string=query).json["data"]
    assert len(seen) == 2
