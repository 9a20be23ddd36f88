"""Lists of tasks, and their expected order."""

from datetime import UTC, datetime
from itertools import cycle

import time_machine

from app.tasks.models import Priority

SORTS = ("created_at", "updated_at", "due", "priority", "title", "position")
BOTH_WAYS = [sign + sort for sort in SORTS for sign in ("", "-")]
KEYS = {
    "due": lambda task: (
        task["due_at"] or (task["due_date"] and f"{task['due_date']}T00:00:00.000000Z")
    ),
    "priority": lambda task: Priority[task["priority"]],
    "title": lambda task: task["title"].casefold(),
}


def in_order(tasks, sort):
    """Sort by key and id in one direction, with nulls last, as the API documents."""
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
    """Create tasks with ties and nulls in every sort order."""
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
    """Return all rows of a list, page by page; call ``between`` after each page."""
    rows, cursor = [], {}
    while cursor is not None:
        query = {"sort": sort, "limit": limit, **cursor}
        response = account.get("/tasks", query_string=query)
        assert response.status_code == 200, response.text
        rows += response.json["data"]
        assert len(response.json["data"]) <= limit
        next_cursor = response.json["next_cursor"]
        cursor = {"cursor": next_cursor} if next_cursor else None
        between(rows)
    return rows
