"""Generated positions: each sorts after the last, and they stay short."""

import hypothesis
import pytest
from hypothesis import strategies as st

from app.tasks.positions import DIGITS, FIRST, after

POSITIONS = st.text(DIGITS, min_size=1, max_size=100) | st.text("z0", min_size=1, max_size=100)


@hypothesis.given(POSITIONS)
def test_new_position_sorts_after_any_position(position):
    following = after(position)
    assert following.encode() > position.encode()
    assert set(following) <= set(DIGITS)


@hypothesis.given(POSITIONS)
def test_positions_after_the_longest_client_value_fit_the_column(position):
    for _ in range(50):
        position = after(position)
    assert len(position) <= 255


def test_digits_are_sorted_by_byte_value():
    assert sorted(DIGITS, key=str.encode) == list(DIGITS)


def test_position_length_grows_logarithmically():
    position, longest = None, {}
    for number in range(1, 100_001):
        following = after(position)
        assert position is None or following.encode() > position.encode()
        position = following
        longest[len(str(number))] = len(position)
    assert longest == {1: 2, 2: 3, 3: 3, 4: 4, 5: 4, 6: 4}


@pytest.mark.parametrize("last", [None, "", "0", "Zz"])
def test_first_position_follows_nothing_and_lower_positions(last):
    assert after(last) == FIRST


def test_new_task_gets_the_last_position(alice, bob):
    bob.task(position="zzz")
    tasks = [alice.task("first"), alice.task("second"), alice.task("third")]
    alice.patch(f"/tasks/{tasks[0]['id']}", {"position": "z" * 100})
    alice.task("before all", position="0")
    alice.task("last")
    alice.task("very last")
    listed = [task["title"] for task in alice.get("/tasks?sort=position").json["data"]]
    assert listed == ["before all", "second", "third", "first", "last", "very last"]


def test_change_by_administrator_keeps_position_in_list_of_owner(alice, admin):
    admin.task(position="z9")
    first, second = alice.task("first"), alice.task("second")
    admin.put(f"/tasks/{first['id']}", {"title": "first", "status": "pending"})
    listed = alice.get("/tasks?sort=position").json["data"]
    assert [task["id"] for task in listed] == [first["id"], second["id"]]
