"""Filters of the list of tasks."""

from datetime import UTC, datetime

import pytest
import time_machine

NOON = datetime(2030, 6, 15, 12, tzinfo=UTC)


def titles(account, **query):
    response = account.get("/tasks", query_string={"sort": "position", **query})
    assert response.status_code == 200, response.text
    return [task["title"] for task in response.json["data"]]


def set_time_zone(account, zone):
    assert account.patch("/auth/me", {"time_zone": zone}).json["time_zone"] == zone


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "pending"}, ["a"]),
        ({"status": "pending,completed"}, ["a", "c"]),
        ({"status": "completed,pending,completed"}, ["a", "c"]),
        ({"priority": "none"}, ["a", "d"]),
        ({"priority": "urgent,low"}, ["b", "c"]),
        ({"priority": "high"}, []),
        ({"status": "pending,in_progress", "priority": "low,none"}, ["a", "b"]),
        ({"status": "pending", "priority": "urgent"}, []),
        ({"has_due": "true"}, ["b", "c"]),
        ({"has_due": "false"}, ["a", "d"]),
        ({"has_due": "true", "status": "completed"}, ["c"]),
    ],
)
def test_values_of_a_filter_are_ored_and_filters_are_anded(alice, query, expected):
    alice.task("a")
    alice.task("b", status="in_progress", priority="low", due_date="2030-01-31")
    alice.task("c", status="completed", priority="urgent", due_at="2030-01-31T09:00:00Z")
    alice.task("d", status="cancelled")
    assert titles(alice, **query) == expected


DUES = {
    "day 14": {"due_date": "2030-06-14"},
    "day 15": {"due_date": "2030-06-15"},
    "day 16": {"due_date": "2030-06-16"},
    "14th 22:00": {"due_at": "2030-06-14T22:00:00Z"},
    "15th 12:00": {"due_at": "2030-06-15T12:00:00Z"},
    "15th 22:00": {"due_at": "2030-06-15T22:00:00Z"},
    "never": {},
}


@pytest.mark.parametrize(
    ("zone", "query", "expected"),
    [
        ("UTC", {"due_before": "2030-06-15"}, ["day 14", "14th 22:00"]),
        ("UTC", {"due_after": "2030-06-15"}, ["day 16"]),
        ("UTC", {"due_after": "2030-06-14"}, ["day 15", "day 16", "15th 12:00", "15th 22:00"]),
        # In Zurich, 22:00 UTC is midnight, which belongs to the next day.
        ("Europe/Zurich", {"due_before": "2030-06-15"}, ["day 14"]),
        ("Europe/Zurich", {"due_after": "2030-06-15"}, ["day 16", "15th 22:00"]),
        ("UTC", {"due_before": "2030-06-15T12:00:00Z"}, ["day 14", "14th 22:00"]),
        ("UTC", {"due_after": "2030-06-15T12:00:00Z"}, ["day 16", "15th 22:00"]),
        (
            "UTC",
            {"due_before": "2030-06-15T14:00:00.000001+02:00"},
            ["day 14", "14th 22:00", "15th 12:00"],
        ),
        (
            "Europe/Zurich",
            {"due_before": "2030-06-15T22:00:00Z"},
            ["day 14", "day 15", "14th 22:00", "15th 12:00"],
        ),
        (
            "UTC",
            {"due_after": "2030-06-14", "due_before": "2030-06-15T23:00:00Z"},
            ["15th 12:00", "15th 22:00"],
        ),
        ("UTC", {"due_before": "0001-01-01"}, []),
        ("UTC", {"due_after": "9999-12-31"}, []),
        ("Asia/Tokyo", {"due_before": "0001-01-01"}, []),
        ("America/New_York", {"due_after": "9999-12-31T23:59:59Z"}, []),
        ("America/New_York", {"due_before": "0001-01-01T00:00:00Z"}, []),
        ("Asia/Tokyo", {"due_after": "9999-12-31T23:59:59Z"}, []),
    ],
)
def test_dates_in_filters_use_the_time_zone_of_the_user(alice, zone, query, expected):
    set_time_zone(alice, zone)
    for title, due in DUES.items():
        alice.task(title, **due)
    assert titles(alice, **query) == expected


@pytest.mark.parametrize(
    ("zone", "day", "last_hours", "next_day"),
    [
        # The last hour of the day repeats.
        ("America/Santiago", "2027-04-03", ("T02:30", "T03:30", "T03:59"), "2027-04-04T04:00"),
        # The first hour of the next day is skipped.
        ("America/Santiago", "2027-09-04", ("T02:30", "T03:30", "T03:59"), "2027-09-05T04:00"),
        # The first hour of the next day repeats.
        ("America/Havana", "2027-11-06", ("T02:30", "T03:30", "T03:59"), "2027-11-07T04:00"),
        ("UTC", "2027-04-03", (), "2027-04-04T00:00"),
    ],
)
def test_day_ends_where_the_next_begins(alice, zone, day, last_hours, next_day):
    set_time_zone(alice, zone)
    for hour in last_hours:
        alice.task(hour, due_at=f"{next_day[:10]}{hour}:59.999999Z")
    alice.task("next day", due_at=f"{next_day}:00Z")
    assert titles(alice, due_after=day) == ["next day"]
    assert titles(alice, due_before=next_day[:10]) == list(last_hours)


# At 12:00 UTC on the 15th, it is already the 16th in Kiritimati (+14), and still the 15th at -12.
OVERDUE = {
    "a microsecond ago": {"due_at": "2030-06-15T11:59:59.999999Z"},
    "yesterday, in progress": {"due_date": "2030-06-14", "status": "in_progress"},
    "today, already over in its zone": {
        "due_date": "2030-06-15",
        "time_zone": "Pacific/Kiritimati",
    },
}
NOT_OVERDUE = {
    "now": {"due_at": "2030-06-15T12:00:00Z"},
    "today": {"due_date": "2030-06-15"},
    "today, not over in its zone": {"due_date": "2030-06-15", "time_zone": "Etc/GMT+12"},
    "no due": {},
    "completed": {"due_date": "2030-06-01", "status": "completed"},
    "cancelled": {"due_at": "2030-06-01T00:00:00Z", "status": "cancelled"},
}


def test_overdue_selects_open_tasks_due_before_now(accounts):
    with time_machine.travel(NOON, tick=False):
        alice = accounts.make("alice")
        for title, fields in (OVERDUE | NOT_OVERDUE).items():
            alice.task(title, **fields)
        assert titles(alice, overdue="true") == list(OVERDUE)
        assert titles(alice, overdue="false") == list(NOT_OVERDUE)


@pytest.mark.parametrize(
    ("now", "user_zone", "task_zone", "overdue"),
    [
        ("2030-06-15T23:59:59Z", "UTC", None, False),
        ("2030-06-16T00:00:00Z", "UTC", None, True),
        ("2030-06-15T21:59:59Z", "Europe/Zurich", None, False),
        ("2030-06-15T22:00:00Z", "Europe/Zurich", None, True),
        ("2030-06-15T22:00:00Z", "Europe/Zurich", "UTC", False),
        ("2030-06-15T22:00:00Z", "UTC", "Europe/Zurich", True),
        ("2030-06-15T18:14:59Z", "UTC", "Asia/Kathmandu", False),
        ("2030-06-15T18:15:00Z", "UTC", "Asia/Kathmandu", True),
        # From 10:00 to 12:00 UTC, three dates are in use around the world.
        ("2030-06-16T11:30:00Z", "Etc/GMT+12", None, False),
        ("2030-06-16T12:00:00Z", "Etc/GMT+12", None, True),
        ("2030-06-15T10:00:00Z", "Pacific/Kiritimati", None, True),
        ("2030-06-15T09:59:59Z", "Pacific/Kiritimati", None, False),
        ("2030-06-15T10:30:00Z", "Etc/GMT+12", "Pacific/Kiritimati", True),
        ("2030-06-15T10:30:00Z", "UTC", None, False),
    ],
)
def test_due_date_ends_in_time_zone_of_task_or_user(accounts, now, user_zone, task_zone, overdue):
    with time_machine.travel(datetime.fromisoformat(now), tick=False):
        alice = accounts.make("alice")
        set_time_zone(alice, user_zone)
        alice.task("due", due_date="2030-06-15", time_zone=task_zone)
        assert titles(alice, overdue="true") == (["due"] if overdue else [])
        assert titles(alice, overdue="false") == ([] if overdue else ["due"])


def test_filtered_list_is_paginated(alice):
    for number in range(9):
        alice.task(str(number), status="completed" if number % 2 else "pending")
    query = {"sort": "-due", "limit": 2, "status": "completed,pending", "priority": "none"}
    seen, cursor = [], None
    while True:
        paging = {"cursor": cursor} if cursor else {}
        response = alice.get("/tasks", query_string=query | paging).json
        seen += [task["title"] for task in response["data"]]
        cursor = response["next_cursor"]
        if cursor is None:
            break
    assert seen == list("876543210")


def test_administrator_can_filter_the_list_of_another_user(alice, admin):
    alice.task("a", priority="high")
    alice.task("b")
    assert titles(admin, owner_id=alice.id, priority="high") == ["a"]
    assert titles(admin, priority="high") == []


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({"created_after": "2030-01-31T09:00:00Z"}, ["Late"]),
        ({"created_after": "2030-01-31"}, []),
        ({"created_after": "2030-01-30"}, ["Late", "Early"]),
        ({"updated_since": "2030-01-31T10:00:00Z"}, ["Late", "Early"]),
        ({"updated_since": "2030-01-31T10:30:00+00:00"}, ["Early"]),
        ({"completed_since": "2030-01-31"}, ["Early"]),
        ({"completed_since": "2030-02-01"}, []),
    ],
)
def test_filters_by_creation_update_and_completion_time(accounts, query, titles):
    with time_machine.travel(datetime(2030, 1, 31, 9, tzinfo=UTC), tick=False) as clock:
        alice = accounts.make("alice")
        early = alice.task("Early")
        clock.move_to(datetime(2030, 1, 31, 10, tzinfo=UTC))
        alice = alice.with_new_client()
        alice.task("Late")
        clock.move_to(datetime(2030, 1, 31, 11, tzinfo=UTC))
        alice = alice.with_new_client()
        alice.put(f"/tasks/{early['id']}/status", {"status": "completed"})
        tasks = alice.get("/tasks", query_string=query).json["data"]
    assert [task["title"] for task in tasks] == titles
