"""The list of tasks: sort orders, pages and query parameters."""

import pytest
from sqlalchemy import delete

from app.extensions import db
from app.tasks.models import Task
from tests.lists import BOTH_WAYS, in_order, make_tasks, walk
from tests.problems import details, parameters


@pytest.mark.parametrize("sort", BOTH_WAYS)
def test_every_sort_order_has_nulls_last_and_ties_by_id(alice, sort):
    expected = in_order(make_tasks(alice), sort)
    assert alice.get(f"/tasks?sort={sort}").json == {"data": expected, "next_cursor": None}


def test_default_order_is_newest_first(alice):
    expected = in_order(make_tasks(alice), "-created_at")
    assert alice.get("/tasks").json["data"] == expected


@pytest.mark.parametrize("sort", BOTH_WAYS)
def test_pages_of_any_size_contain_each_task_once(alice, sort):
    expected = in_order(make_tasks(alice), sort)
    for limit in range(1, len(expected) + 2):
        assert walk(alice, sort, limit) == expected


def test_titles_sort_by_case_folded_code_points(alice):
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


def test_limit_defaults_to_50_and_is_at_most_200(alice):
    for number in range(51):
        alice.task(str(number))
    for query, count in (("", 50), ("?limit=1", 1), ("?limit=50", 50), ("?limit=200", 51)):
        response = alice.get(f"/tasks{query}").json
        assert len(response["data"]) == count
        assert (response["next_cursor"] is None) == (count == 51)


def test_limit_may_change_between_pages(alice):
    expected = in_order(make_tasks(alice), "title")
    first = alice.get("/tasks?sort=title&limit=2").json
    rest = alice.get("/tasks", query_string={"sort": "title", "cursor": first["next_cursor"]}).json
    assert first["data"] + rest["data"] == expected
    assert rest["next_cursor"] is None


def test_full_last_page_has_no_next_cursor(alice):
    alice.task()
    alice.task()
    response = alice.get("/tasks?limit=2")
    assert response.json["next_cursor"] is None
    assert "Link" not in response.headers


def test_page_of_deleted_rows_is_empty(app, alice):
    make_tasks(alice, 3)
    cursor = alice.get("/tasks?limit=1").json["next_cursor"]
    with app.app_context():
        db.session.execute(delete(Task))
        db.session.commit()
    response = alice.get("/tasks", query_string={"limit": 1, "cursor": cursor})
    assert response.json == {"data": [], "next_cursor": None}


def test_link_header_keeps_sort_and_filters(app, alice):
    tasks = [alice.task(title, priority="low") for title in ("a", "b", "c")]
    alice.task("d")
    response = alice.get("/tasks?sort=-title&limit=2&priority=low,high&has_due=false")
    assert response.json["data"] == [tasks[2], tasks[1]]
    link = response.headers["Link"]
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
def test_unknown_parameter_or_value_is_rejected(alice, name, value):
    alice.task()
    assert parameters(alice.get("/tasks", query_string={name: value})) == {name}


def test_all_invalid_parameters_are_reported_together(alice):
    response = alice.get("/tasks?limit=0&sort=no&status=no&nothing=1")
    assert parameters(response) == {"limit", "sort", "status", "nothing"}
    assert response.json["detail"] == "4 fields are invalid."


def test_query_parameters_of_a_write_are_rejected(alice):
    assert parameters(alice.post("/tasks?notify=true", {"title": "New"})) == {"notify"}
    assert alice.get("/tasks").json["data"] == []


@pytest.mark.parametrize("path", ["/tasks", "/tasks/{id}", "/auth/me", "/jobs"])
def test_unknown_parameter_has_one_wording(alice, path):
    response = alice.get(f"{path.format(**alice.task())}?notify=true")
    assert details(response) == {"notify": "Unknown parameter."}
