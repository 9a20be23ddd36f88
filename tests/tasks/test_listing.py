"""The list of tasks: its orders, its pages, and what may be asked of it."""

from datetime import UTC, datetime
from itertools import cycle

import pytest
import time_machine
from sqlalchemy import delete

from app.extensions import db
from app.tasks.models import Priority, Task
from tests.problems import parameters

SORTS = ("created_at", "updated_at", "due", "priority", "title", "position")
BOTH_WAYS = [sign + sort for sort in SORTS for sign in ("", "-")]
KEYS = {
    "due": lambda task: task["due_at"] or (task["due_date"] and f"{task['due_date']}T00:00:00Z"),
    "priority": lambda task: Priority[task["priority"]],
    "title": lambda task: task["title"].casefold(),
}


def in_order(tasks, sort):
    """The order that the contract gives: by key, then by id the same way, nulls last."""
    name = sort.removeprefix("-")
    key = KEYS.get(name, lambda task: task[name])
    backwards = sort.startswith("-")
    keyed = [task for task in tasks if key(task) is not None]
    nulls = [task for task in tasks if key(task) is None]
    return [
        *sorted(keyed, key=lambda task: (key(task), task["id"]), reverse=backwards),
        *sorted(nulls, key=lambda task: task["id"], reverse=backwards),
    ]


def make_tasks(account, count=12):
    """Tasks with ties and nulls in every order; those of an instant are made in one."""
    dues = cycle(
        [
            {},
            {"due_date": "2030-01-02"},
            {"due_at": "2030-01-02T00:00:00Z"},
            {},
            {"due_at": "2030-01-01T09:00:00Z"},
        ]
    )
    titles, priorities = cycle(["b", "A", "a", "ä"]), cycle(["low", "urgent", "none", "low"])
    places = cycle(["a1", "Z", "a1", "b00"])
    tasks = []
    for number, due, title, priority, place in zip(
        range(count), dues, titles, priorities, places, strict=False
    ):
        if number % 3 == 0:
            moment = datetime.now(UTC)
        with time_machine.travel(moment, tick=False):
            fields = {"priority": priority, "position": place}
            tasks.append(account.task(title, **fields, **due))
    return tasks


def walk(account, sort, limit, between=len):
    """Every row of a list, page by page, as it stood when its page was read."""
    rows, cursor = [], {}
    while cursor is not None:
        query = {"sort": sort, "limit": limit, **cursor}
        answer = account.get("/tasks", query_string=query)
        assert answer.status_code == 200, answer.text
        rows += answer.json["data"]
        assert len(answer.json["data"]) <= limit
        following = answer.json["next_cursor"]
        cursor = {"cursor": following} if following else None
        between(rows)
    return rows


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


@pytest.mark.parametrize("sort", BOTH_WAYS)
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_what_was_there_throughout_is_seen_once_whatever_comes_and_goes(alice, sort, limit):
    tasks = make_tasks(alice)
    doomed = {task["id"] for task in tasks[::3]}
    remaining = sorted(doomed)

    def disturb(rows):
        if len(rows) < 20:
            make_tasks(alice, 2)
        if rows and rows[-1]["id"] in remaining:
            remaining.remove(rows[-1]["id"])
            alice.delete(f"/tasks/{rows[-1]['id']}")
        elif remaining:
            alice.delete(f"/tasks/{remaining.pop()}")

    seen = [task["id"] for task in walk(alice, sort, limit, disturb)]
    assert len(seen) == len(set(seen))
    throughout = [task for task in tasks if task["id"] not in doomed]
    expected = [task["id"] for task in in_order(throughout, sort)]
    assert [task_id for task_id in seen if task_id in expected] == expected


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


BAD_LIMITS = ["0", "201", "-1", "1_0", "\u0661", " 5", "5 ", "", "+5", "05", "5.0", "1e1", "true"]


@pytest.mark.parametrize("limit", [*BAD_LIMITS, str(2**63), "9" * 5000, "5\0"])
def test_a_limit_that_is_not_a_number_from_1_to_200_is_refused(alice, limit):
    assert parameters(alice.get("/tasks", query_string={"limit": limit})) == {"limit"}


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


@pytest.mark.parametrize("name", ["sort", "limit", "status", "cursor", "unknown"])
def test_a_parameter_that_comes_twice_is_refused_by_name(alice, name):
    assert parameters(alice.get(f"/tasks?{name}=1&{name}=1")) == {name}


def test_every_bad_parameter_is_named_at_once(alice):
    answer = alice.get("/tasks?limit=0&sort=no&status=no&nothing=1")
    assert parameters(answer) == {"limit", "sort", "status", "nothing"}
    assert answer.json["detail"] == "4 fields are not acceptable."


def test_a_query_on_a_write_is_refused(alice):
    assert parameters(alice.post("/tasks?notify=true", {"title": "New"})) == {"notify"}
    assert alice.get("/tasks").json["data"] == []
