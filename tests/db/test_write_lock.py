"""The SQLite write lock: writers wait in order across threads and processes."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import func, select

from app.db.sqlite import SqliteWriteLock
from app.extensions import db
from app.tasks.models import Task


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "app.db")


@contextmanager
def locked_by_another_process(path):
    """Hold the lock as another process would, by a file descriptor of its own."""
    file = os.open(f"{path}-turn", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(file)


def acquire(lock):
    with lock.acquire():
        return True


def test_threads_write_one_at_a_time(path):
    lock, count = SqliteWriteLock(path, timeout=60), []

    def write(number):
        with lock.acquire():
            before = len(count)
            Event().wait(0.001)
            count.append(number)
            assert len(count) == before + 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    assert sorted(count) == list(range(40))


def test_process_waits_for_another_process(path):
    lock = SqliteWriteLock(path, timeout=60)
    with ThreadPoolExecutor(1) as threads:
        with locked_by_another_process(path):
            waiting = threads.submit(acquire, lock)
            with pytest.raises(FutureTimeoutError):
                waiting.result(0.1)
        assert waiting.result(10)


def test_waiter_proceeds_after_timeout(path):
    lock, done = SqliteWriteLock(path, timeout=0.05), Event()

    def hold():
        with lock.acquire():
            done.wait(10)

    with ThreadPoolExecutor(1) as threads:
        holder = threads.submit(hold)
        assert acquire(lock)
        done.set()
        holder.result(10)
    assert acquire(lock)


def test_lock_is_released_after_an_exception(path):
    lock = SqliteWriteLock(path, timeout=60)
    with pytest.raises(ZeroDivisionError), lock.acquire():
        1 / 0  # noqa: B018  # raises on purpose
    with locked_by_another_process(path):
        pass
    assert acquire(lock)


def test_lock_file_is_private(path):
    assert acquire(SqliteWriteLock(path, timeout=60))
    assert Path(f"{path}-turn").stat().st_mode & 0o777 == 0o600


def test_creating_a_task_waits_for_the_lock(app, alice, stored):
    with app.app_context():
        engine = db.engine
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL allows concurrent writers")
    with ThreadPoolExecutor(1) as threads:
        with locked_by_another_process(engine.url.database):
            created = threads.submit(alice.post, "/tasks", {"title": "Milk"})
            with pytest.raises(FutureTimeoutError):
                created.result(0.1)
            assert alice.get("/tasks").json["data"] == []
            assert stored(select(func.count(Task.id))) == [(0,)]
        assert created.result(10).status_code == 201
    assert [task["title"] for task in alice.get("/tasks").json["data"]] == ["Milk"]
