"""Values of fields: what is taken comes back just as it was meant."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.http.fields import read_instant

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
