"""The list of tasks: sorts, pages and query parameters."""

import pytest
from sqlalchemy import delete

from app.extensions import db
from app.tasks.models import Task
from tests.lists import BOTH_WAYS, in_order, make_tasks, walk
from tests.problems import parameters


@pytest.mark.parametrize("sort", BOTH_WAYS)
def test_every_order_holds_both_ways_with_nulls_last_and_ties_by_id(alice, sort):
    expected = in_order(make_tasks(alice), sort)
    assert alice.get(f"/tasks?sort={sort}").json == {"data": expected, "next_cursor": None}


def test_the_newest_come_first_where_no_order_is_asked_for(alice):
    expected = in_order(make_tasks(alice), "-created_at")
    assert alice.get("/tasks").json["data"] == expected


@pytest.mark.parametrize("sort", BOTH_WAYS)
def test_pages_of_any_size_walk_everything_once(alice, sort):
    expected = in_order(make_tasks(alice), sort)
    for limit in range(1, len(expected) + 2):
        assert walk(alice, sort, limit) == expected


def test_titles_sort_by_code_point_of_their_case_folded_text(alice):
    titles = ["Z", "a", "Ä", "ß", "ss", "st", "z", "é", "e\u0301", "字", "\uffee", "\U0001f600"]
    titles += [
        "A B",
        "a-b",
        "a_b",
        "ab",
        "_",
        "~",
        "1",
        "10",
        "2",
        "İ",
        "\u0131",
        "Σ",
        "ς",
        "ﬁ",
        "\x7f",
    ]
    tasks = [alice.task(title) for title in titles]
    for sort in ("title", "-title"):
        assert alice.get(f"/tasks?sort={sort}").json["data"] == in_order(tasks, sort)


def test_limit_is_fifty_where_it_is_left_out_and_two_hundred_at_most(alice):
    for number in range(51):
        alice.task(str(number))
    for query, count in (("", 50), ("?limit=1", 1), ("?limit=50", 50), ("?limit=200", 51)):
        answer = alice.get(f"/tasks{query}").json
        assert len(answer["data"]) == count
        assert (answer["next_cursor"] is None) == (count == 51)


def test_limit_may_change_between_pages(alice):
    expected = in_order(make_tasks(alice), "title")
    first = alice.get("/tasks?sort=title&limit=2").json
    rest = alice.get("/tasks", query_string={"sort": "title", "cursor": first["next_cursor"]}).json
    assert first["data"] + rest["data"] == expected
    assert rest["next_cursor"] is None


def test_a_last_page_that_is_full_leads_nowhere(alice):
    alice.task()
    alice.task()
    answer = alice.get("/tasks?limit=2")
    assert answer.json["next_cursor"] is None
    assert "Link" not in answer.headers


def test_a_page_whose_rows_have_gone_is_empty(app, alice):
    make_tasks(alice, 3)
    cursor = alice.get("/tasks?limit=1").json["next_cursor"]
    with app.app_context():
        db.session.execute(delete(Task))
        db.session.commit()
    answer = alice.get("/tasks", query_string={"limit": 1, "cursor": cursor})
    assert answer.json == {"data": [], "next_cursor": None}


def test_the_link_header_leads_on_with_the_same_question(app, alice):
    tasks = [alice.task(title, priority="low") for title in ("a", "b", "c")]
    alice.task("d")
    answer = alice.get("/tasks?sort=-title&limit=2&priority=low,high&has_due=false")
    assert answer.json["data"] == [tasks[2], tasks[1]]
    link = answer.headers["Link"]
    base = f"<{app.config['PUBLIC_URL']}/api/v1"
    assert link.startswith(f"{base}/tasks?")
    assert link.endswith('>; rel="next"')
    following = alice.get(link.removeprefix(base).removesuffix('>; rel="next"'))
    assert following.json == {"data": [tasks[0]], "next_cursor": None}
    assert "Link" not in following.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sort", "password"),
        ("sort", "--title"),
        ("sort", "title,-due"),
        ("sort", "title_key"),
        ("sort", "Title"),
        ("sort", ""),
        ("status", "done"),
        ("status", ""),
        ("status", "pending,"),
        ("status", "pending, completed"),
        ("priority", "3"),
        ("priority", "HIGH"),
        ("due_before", "tomorrow"),
        ("due_before", "2030-02-30"),
        ("due_before", "2030-01-31T09:00:00"),
        ("due_after", ""),
        ("due_after", "20300131"),
        ("has_due", "1"),
        ("has_due", "True"),
        ("overdue", ""),
        ("owner_id", "0"),
        ("owner_id", "-1"),
        ("owner_id", "007"),
        ("owner_id", str(2**63)),
        ("owner_id", "\u0661"),
        ("fields", "__class__"),
        ("page", "2"),
        ("title", "x"),
        ("created_by", "1"),
    ],
)
def test_a_parameter_that_is_unknown_or_says_nothing_known_is_refused_by_name(alice, name, value):
    alice.task()
    assert parameters(alice.get("/tasks", query_string={name: value})) == {name}


def test_every_bad_parameter_is_named_at_once(alice):
    answer = alice.get("/tasks?limit=0&sort=no&status=no&nothing=1")
    assert parameters(answer) == {"limit", "sort", "status", "nothing"}
    assert answer.json["detail"] == "4 fields are invalid."


def test_a_query_on_a_write_is_refused(alice):
    assert parameters(alice.post("/tasks?notify=true", {"title": "New"})) == {"notify"}
    assert alice.get("/tasks").json["data"] == []
