"""The floor: one thread at a time, in the order of their coming, and nobody for ever."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import floor as module
from app.floor import Floor
from tests.waiting import wait_for

LONG = 60


@pytest.fixture
def patient(monkeypatch):
    """Nobody takes the floor away."""
    monkeypatch.setattr(module, "PATIENCE", LONG)


def come(threads, floor, act, *, first=False):
    """Have a thread take the floor, act and leave; return when it is in line, or has it."""

    has_it = threading.Event()

    def take():
        floor.take(first=first)
        has_it.set()
        act()
        floor.leave()

    waiting = len(floor._line)
    done = threads.submit(take)
    wait_for(lambda: has_it.is_set() or len(floor._line) > waiting, 5)
    return done


def test_it_goes_to_those_who_wait_in_the_order_of_their_coming(patient):
    floor, order = Floor(), []
    with ThreadPoolExecutor(4) as threads:
        floor.take()
        for name in "abc":
            come(threads, floor, lambda name=name: order.append(name))
        come(threads, floor, lambda: order.append("first"), first=True)
        assert order == []
        assert floor.leave()
    assert order == ["first", "a", "b", "c"]
    assert not floor.leave()


def test_one_thread_at_a_time_has_it(patient):
    floor, inside, most = Floor(), [], []

    def work():
        for _ in range(50):
            floor.take()
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.0001)
            inside.pop()
            floor.leave()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(work) for _ in range(4)]:
            done.result(LONG)
    assert len(most) == 200
    assert max(most) == 1


def test_who_has_it_takes_it_again_at_no_cost(patient):
    floor = Floor()
    floor.take()
    floor.take()
    assert floor.leave()
    assert not floor.leave()


def test_who_waits_in_vain_takes_it_away_and_who_had_it_has_nothing_to_leave():
    floor, asked, told = Floor(), threading.Event(), []
    floor.take()
    with ThreadPoolExecutor(1) as threads:

        def hold():
            floor.take()
            told.append("has it")
            assert asked.wait(5)
            told.append(floor.leave())

        done = threads.submit(hold)
        wait_for(lambda: told, 5)
        assert not floor.leave()
        asked.set()
        done.result(5)
    assert told == ["has it", True]


def test_it_is_left_for_a_while_and_taken_up_before_all_who_wait(patient):
    floor, order, end = Floor(), [], threading.Event()

    def answer():
        with floor.left():
            come(threads, floor, lambda: end.wait(5))
            come(threads, floor, lambda: order.append("who came meanwhile"))
        order.append("who was there")

    with ThreadPoolExecutor(3) as threads:
        floor.take()
        answering = come(threads, floor, answer)
        floor.leave()
        wait_for(lambda: len(floor._line) == 2, 5)
        end.set()
        answering.result(5)
    assert order == ["who was there", "who came meanwhile"]


def test_who_does_not_have_it_leaves_nothing_and_takes_nothing_up():
    floor = Floor()
    with floor.left():
        pass
    assert not floor.leave()


def test_where_it_is_taken_away_all_the_time_everyone_has_it_in_the_end(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.00005)
    floor, times = Floor(), []

    def work(seed):
        chance = random.Random(seed)
        for _ in range(200):
            floor.take(first=chance.random() < 0.3)
            time.sleep(chance.random() * 0.0002)
            with floor.left():
                time.sleep(0)
            floor.leave()
            times.append(seed)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, seed) for seed in range(8)]:
            done.result(LONG)
    assert len(times) == 1600
    assert not floor._line
    assert floor._holder == module.NOBODY
