"""Fields: accepted values are returned unchanged."""

import re
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from app.api.fields import String, parse_datetime
from app.api.jsonschema import Converter

api_settings = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@hypothesis.given(st.datetimes(timezones=OFFSETS))
def test_datetime_is_parsed_exactly_or_rejected(instant):
    try:
        expected = instant.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match=r"T"):
            parse_datetime(instant.isoformat())
    else:
        assert parse_datetime(instant.isoformat()) == expected


@pytest.mark.parametrize(("name", "title"), [("due_before", "Before"), ("due_after", "After")])
def test_filter_truncates_to_microseconds(alice, name, title):
    for name_, microseconds in (("Before", 123455), ("Then", 123456), ("After", 123457)):
        alice.task(name_, due_at=f"2030-01-31T09:00:00.{microseconds}Z")
    response = alice.get("/tasks", query_string={name: "2030-01-31T09:00:00.123456789Z"})
    assert [task["title"] for task in response.json["data"]] == [title]


@api_settings
@hypothesis.given(st.datetimes(timezones=st.just(UTC)), st.dates())
def test_any_datetime_and_date_round_trip(alice, instant, day):
    at = alice.task(due_at=instant.isoformat())
    assert datetime.fromisoformat(at["due_at"]) == instant
    on = alice.task(due_date=day.isoformat())
    assert date.fromisoformat(on["due_date"]) == day
    for task in (at, on):
        assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize("day", ["0001-01-01", "0999-12-31", "2028-02-29", "9999-12-31"])
def test_extreme_dates_round_trip(alice, day):
    task = alice.task(due_date=day)
    assert task["due_date"] == day
    assert alice.get(f"/tasks/{task['id']}").json == task


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Zurich", "America/Argentina/ComodRivadavia", "Etc/GMT+12", "EST5EDT"]
)
def test_time_zone_keeps_its_name(alice, zone):
    task = alice.task(time_zone=zone, due_at="2030-01-31T09:00:00.000000Z")
    assert (task["time_zone"], task["due_at"]) == (zone, "2030-01-31T09:00:00.000000Z")
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_pattern_matches_what_strip_keeps():
    field = String(min_length=1, max_length=9, strip=True)
    field._bind_to_schema("title", Schema())
    pattern = re.compile(Converter("3.1.0", str, None).field2property(field)["pattern"])
    accepted = {sign for sign in map(chr, range(sys.maxunicode + 1)) if pattern.search(sign)}
    assert accepted == {sign for sign in map(chr, range(1, sys.maxunicode + 1)) if sign.strip()}


def test_pattern_of_visible_text_accepts_what_the_field_accepts():
    field = String(min_length=1, max_length=9, strip=True, visible=True)
    field._bind_to_schema("title", Schema())
    pattern = re.compile(Converter("3.1.0", str, None).field2property(field)["pattern"])
    # A pattern can't contain characters beyond U+FFFF in the same way for every client.
    for sign in map(chr, [*range(1, 0xD800), *range(0xE000, 0x10000)]):
        try:
            field.deserialize(sign)
        except ValidationError:
            assert not pattern.search(sign), hex(ord(sign))
        else:
            assert pattern.search(sign), hex(ord(sign))


STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
HALVES = st.text(STORABLE, max_size=74)
# With a visible character, which a title needs.
TITLES = st.tuples(HALVES, HALVES).map("a".join)


@api_settings
@hypothesis.given(TITLES, st.none() | st.text(STORABLE, max_size=500))
def test_any_text_round_trips_and_title_is_stripped(alice, title, text):
    task = alice.task(title, description=text)
    assert task["title"] == title.strip()
    assert task["description"] == text
    assert alice.get(f"/tasks/{task['id']}").json == task
    changed = alice.patch(f"/tasks/{task['id']}", {"title": f" {title}\n"}).json
    assert changed == task
