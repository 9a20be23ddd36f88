"""Positions: each after the last, and short."""

import hypothesis
import pytest
from hypothesis import strategies as st

from app.tasks.positions import DIGITS, FIRST, after

PLACES = st.text(DIGITS, min_size=1, max_size=100) | st.text("z0", min_size=1, max_size=100)


@hypothesis.given(PLACES)
def test_a_place_is_behind_any_that_it_is_made_after(place):
    behind = after(place)
    assert behind.encode() > place.encode()
    assert set(behind) <= set(DIGITS)


@hypothesis.given(PLACES)
def test_places_after_the_longest_that_a_client_may_give_fit_their_column(place):
    for _ in range(50):
        place = after(place)
    assert len(place) <= 255


def test_digits_are_in_the_order_of_their_bytes():
    assert sorted(DIGITS, key=str.encode) == list(DIGITS)


def test_places_grow_with_the_logarithm_of_their_number():
    place, longest = None, {}
    for number in range(1, 100_001):
        following = after(place)
        assert place is None or following.encode() > place.encode()
        place = following
        longest[len(str(number))] = len(place)
    assert longest == {1: 2, 2: 3, 3: 3, 4: 4, 5: 4, 6: 4}


@pytest.mark.parametrize("last", [None, "", "0", "Zz"])
def test_the_first_place_is_behind_nothing_and_behind_what_is_before_it(last):
    assert after(last) == FIRST


def test_a_new_task_goes_last_whatever_places_there_are(alice, bob):
    bob.task(position="zzz")
    tasks = [alice.task("first"), alice.task("second"), alice.task("third")]
    alice.patch(f"/tasks/{tasks[0]['id']}", {"position": "z" * 100})
    alice.task("before all", position="0")
    alice.task("last")
    alice.task("very last")
    listed = [task["title"] for task in alice.get("/tasks?sort=position").json["data"]]
    assert listed == ["before all", "second", "third", "first", "last", "very last"]


def test_a_task_that_an_administrator_changes_keeps_its_place_among_its_owners(alice, admin):
    admin.task(position="z9")
    first, second = alice.task("first"), alice.task("second")
    admin.put(f"/tasks/{first['id']}", {"title": "first", "status": "pending"})
    listed = alice.get("/tasks?sort=position").json["data"]
    assert [task["id"] for task in listed] == [first["id"], second["id"]]
