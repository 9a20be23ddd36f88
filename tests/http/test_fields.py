"""Values of fields: what is taken comes back just as it was meant."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.http.fields import read_instant
from app.tasks.models import Task
from tests.problems import pointers

through_the_api = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("2030-01-31T09:00:00Z", "2030-01-31T09:00:00Z"),
        ("2030-01-31t09:00:00z", "2030-01-31T09:00:00Z"),
        ("2030-01-31T09:00:00+00:00", "2030-01-31T09:00:00Z"),
        ("2030-01-31T09:00:00-00:00", "2030-01-31T09:00:00Z"),
        ("2030-01-31T09:00:00+05:45", "2030-01-31T03:15:00Z"),
        ("2030-01-31T23:30:00-23:59", "2030-02-01T23:29:00Z"),
        ("2028-02-29T23:59:59.999999+00:00", "2028-02-29T23:59:59.999999Z"),
        ("2030-01-31T09:00:00.5Z", "2030-01-31T09:00:00.500000Z"),
        ("2030-01-31T09:00:00.000001Z", "2030-01-31T09:00:00.000001Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00-14:00", "0001-01-01T14:00:00Z"),
        ("0999-12-31T23:59:59Z", "0999-12-31T23:59:59Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59+14:00", "9999-12-31T09:59:59Z"),
    ],
)
def test_an_instant_comes_back_in_utc(alice, said, told):
    task = alice.task(due_at=said)
    assert task["due_at"] == told
    assert alice.get(f"/tasks/{task['id']}").json == task
    assert alice.get("/tasks?sort=due").json["data"] == [task]


@pytest.mark.parametrize(
    "said",
    [
        "2030-01-31T09:00:00",
        "2030-01-31 09:00:00Z",
        "2030-01-31T09:00Z",
        "2030-01-31T09Z",
        "20300131T090000Z",
        "2030-01-31T09:00:60Z",
        "2016-12-31T23:59:60Z",
        "2030-01-31T24:00:00Z",
        "2030-01-31T09:60:00Z",
        "2030-02-30T09:00:00Z",
        "2030-02-29T09:00:00Z",
        "2030-00-01T09:00:00Z",
        "2030-13-01T09:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T23:59:59-00:01",
        "2030-01-31T09:00:00+24:00",
        "2030-01-31T09:00:00+05:60",
        "2030-01-31T09:00:00+0545",
        "2030-01-31T09:00:00+05",
        "2030-01-31T09:00:00 Z",
        "2030-01-31T09:00:00.Z",
        "2030-01-31T09:00:00,5Z",
        "2030-01-31T09:00:00.0000001Z",
        "2030-01-31T09:00:00Z\n",
        " 2030-01-31T09:00:00Z",
        "2030-01-31T09:00:00Europe/Zurich",
        "2030-W05-4T09:00:00Z",
        "\u0662030-01-31T09:00:00Z",
    ],
)
def test_what_is_no_exact_instant_is_refused(alice, stored, said):
    assert pointers(alice.post("/tasks", {"title": "x", "due_at": said})) == {"/due_at"}
    assert stored(select(Task.id)) == []


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=OFFSETS))
def test_an_instant_is_read_for_what_it_is_or_not_at_all(instant):
    try:
        expected = instant.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match=r"T"):
            read_instant(instant.isoformat())
    else:
        assert read_instant(instant.isoformat()) == expected


@through_the_api
@given(st.datetimes(timezones=st.just(UTC)), st.dates())
def test_any_instant_and_any_day_come_back_as_they_were(alice, instant, day):
    at = alice.task(due_at=instant.isoformat())
    assert datetime.fromisoformat(at["due_at"]) == instant
    on = alice.task(due_date=day.isoformat())
    assert date.fromisoformat(on["due_date"]) == day
    for task in (at, on):
        assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize("day", ["0001-01-01", "0999-12-31", "2028-02-29", "9999-12-31"])
def test_a_day_comes_back_as_it_was(alice, day):
    task = alice.task(due_date=day)
    assert task["due_date"] == day
    assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Zurich", "America/Argentina/ComodRivadavia", "Etc/GMT+12", "EST5EDT"]
)
def test_a_zone_keeps_the_name_that_it_was_given(alice, zone):
    task = alice.task(time_zone=zone, due_at="2030-01-31T09:00:00Z")
    assert (task["time_zone"], task["due_at"]) == (zone, "2030-01-31T09:00:00Z")
    assert alice.get(f"/tasks/{task['id']}").json == task


STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TITLES = st.text(STORABLE, min_size=1, max_size=150).filter(str.strip)


@through_the_api
@given(TITLES, st.none() | st.text(STORABLE, max_size=500))
def test_any_text_comes_back_as_it_was_but_for_white_space_around_a_title(alice, title, text):
    task = alice.task(title, description=text)
    assert task["title"] == title.strip()
    assert task["description"] == text
    assert alice.get(f"/tasks/{task['id']}").json == task
    changed = alice.patch(f"/tasks/{task['id']}", {"title": f" {title}\n"}).json
    assert changed == task
