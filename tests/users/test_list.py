"""The administrators' list of accounts: filters, sorts and pages."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import update

from app.auth.models import User
from app.extensions import db
from tests.problems import assert_problem, parameters

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)
KEYS = ["id", "username", "email", "email_verified", "role", "time_zone"]
KEYS += ["notify_on_create", "notify_when_due"]
KEYS += ["created_at", "updated_at", "disabled"]


@pytest.fixture
def people(accounts):
    """Some accounts, a minute apart, and the administrator who asks."""
    with time_machine.travel(MOMENT, tick=False) as clock:
        for name in ("Zoe", "adam", "Mary", "b_b", "B.B", "root"):
            account = accounts.make(name, admin=name in {"adam", "root"})
            clock.shift(timedelta(minutes=1))
        yield account


@pytest.fixture
def names(people):
    def read(**query):
        answer = people.get("/users", query_string=query)
        assert answer.status_code == 200, answer.text
        return [user["username"] for user in answer.json["data"]]

    return read


def test_all_accounts_are_listed_the_newest_first(people, names):
    assert names() == ["root", "B.B", "b_b", "Mary", "adam", "Zoe"]
    first = people.get("/users").json["data"][0]
    assert list(first) == KEYS
    assert first == people.get(f"/users/{people.id}").json
    assert first["created_at"] == "2040-01-31T09:05:00Z"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("created_at", ["Zoe", "adam", "Mary", "b_b", "B.B", "root"]),
        ("-created_at", ["root", "B.B", "b_b", "Mary", "adam", "Zoe"]),
        # By code point of the name without its case, alike on every database.
        ("username", ["adam", "B.B", "b_b", "Mary", "root", "Zoe"]),
        ("-username", ["Zoe", "root", "Mary", "b_b", "B.B", "adam"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 4, 200])
def test_pages_walk_every_order_and_meet_each_account_once(people, names, sort, order, limit):
    query, seen = {"sort": sort, "limit": limit}, []
    while True:
        page = people.get("/users", query_string=query)
        seen += [user["username"] for user in page.json["data"]]
        assert ("Link" in page.headers) == (page.json["next_cursor"] is not None)
        if page.json["next_cursor"] is None:
            break
        query["cursor"] = page.json["next_cursor"]
    assert seen == order


@pytest.mark.parametrize(
    ("query", "found"),
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
def test_filters_choose(app, people, names, query, found):
    with app.app_context():
        mary, zoe = User.username_key == "mary", User.username_key == "zoe"
        db.session.execute(update(User).where(mary).values(disabled_at=MOMENT))
        db.session.execute(update(User).where(zoe).values(email_verified=True))
        db.session.commit()
    assert names(**query) == found


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
def test_a_query_that_is_not_of_the_list_is_refused_by_name(admin, name, value):
    assert parameters(admin.get("/users", query_string={name: value})) == {name}


def test_a_cursor_belongs_to_its_sort_and_filters(people):
    first = people.get("/users", query_string={"limit": 1, "role": "user"}).json
    for other in ({"role": "admin"}, {}, {"role": "user", "sort": "username"}):
        query = {"cursor": first["next_cursor"], **other}
        assert_problem(people.get("/users", query_string=query), 422, "invalid_cursor")
    query = {"cursor": first["next_cursor"], "role": "user", "limit": 2}
    assert len(people.get("/users", query_string=query).json["data"]) == 2


def test_a_list_that_has_not_changed_is_not_sent_again(admin):
    first = admin.get("/users")
    again = admin.get("/users", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "private, no-cache"


def test_neither_list_nor_account_tells_a_secret(admin, alice):
    for path in ("/users", f"/users/{alice.id}"):
        text = admin.get(path).text
        assert "password" not in text
        assert "argon2" not in text


@pytest.mark.parametrize("query", [{}, {"sort": "username"}, {"role": "user", "disabled": "false"}])
def test_a_list_of_any_size_runs_two_statements(people, statements, query):
    with statements() as seen:
        assert people.get("/users", query_string=query).json["data"]
    assert len(seen) == 2
