"""Values of fields: what is taken comes back just as it was meant."""

import re
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema

from app.http.fields import Text, read_instant
from app.http.jsonschema import Converter

through_the_api = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


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


@pytest.mark.parametrize(("name", "found"), [("due_before", "Before"), ("due_after", "After")])
def test_a_filter_takes_a_finer_instant(alice, name, found):
    for title, microseconds in (("Before", 123455), ("Then", 123456), ("After", 123457)):
        alice.task(title, due_at=f"2030-01-31T09:00:00.{microseconds}Z")
    answer = alice.get("/tasks", query_string={name: "2030-01-31T09:00:00.123456789Z"})
    assert [task["title"] for task in answer.json["data"]] == [found]


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


def test_the_document_means_the_white_space_that_is_taken_off():
    field = Text(least=1, most=9, trim=True)
    field._bind_to_schema("title", Schema())
    promised = re.compile(Converter("3.1.0", str, None).field2property(field)["pattern"])
    taken = {sign for sign in map(chr, range(sys.maxunicode + 1)) if promised.search(sign)}
    assert taken == {sign for sign in map(chr, range(1, sys.maxunicode + 1)) if sign.strip()}


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
