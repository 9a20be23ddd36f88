"""Whoever would write to SQLite by one statement waits in line, and is not made to nap."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import func, select

from app.extensions import db
from app.tasks.models import Task
from app.turns import Line


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "app.db")


@contextmanager
def held_by_another(path):
    """Have the turn as another process would, which opened the file for itself."""
    file = os.open(f"{path}-turn", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(file)


def took_turn(line):
    with line.turn():
        return True


def test_threads_have_their_turn_one_after_another(path):
    line, count = Line(path, patience=60), []

    def write(number):
        with line.turn():
            before = len(count)
            Event().wait(0.001)
            count.append(number)
            assert len(count) == before + 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    assert sorted(count) == list(range(40))


def test_a_process_waits_for_another(path):
    line = Line(path, patience=60)
    with ThreadPoolExecutor(1) as threads:
        with held_by_another(path):
            waiting = threads.submit(took_turn, line)
            with pytest.raises(StillWaiting):
                waiting.result(0.1)
        assert waiting.result(10)


def test_a_thread_that_waits_in_vain_goes_on(path):
    line, done = Line(path, patience=0.05), Event()

    def dawdle():
        with line.turn():
            done.wait(10)

    with ThreadPoolExecutor(1) as threads:
        dawdling = threads.submit(dawdle)
        assert took_turn(line)
        done.set()
        dawdling.result(10)
    assert took_turn(line)


def test_a_turn_that_ends_in_an_error_is_over(path):
    line = Line(path, patience=60)
    with pytest.raises(ZeroDivisionError), line.turn():
        1 / 0  # noqa: B018  # the error is what is wanted
    with held_by_another(path):
        pass
    assert took_turn(line)


def test_nobody_else_may_open_what_is_locked(path):
    assert took_turn(Line(path, patience=60))
    assert Path(f"{path}-turn").stat().st_mode & 0o777 == 0o600


def test_a_task_is_created_in_its_turn(app, alice, stored):
    with app.app_context():
        engine = db.engine
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has room for many writers.")
    with ThreadPoolExecutor(1) as threads:
        with held_by_another(engine.url.database):
            created = threads.submit(alice.post, "/tasks", {"title": "Milk"})
            with pytest.raises(StillWaiting):
                created.result(0.1)
            assert alice.get("/tasks").json["data"] == []
            assert stored(select(func.count(Task.id))) == [(0,)]
        assert created.result(10).status_code == 201
    assert [task["title"] for task in alice.get("/tasks").json["data"]] == ["Milk"]
