"""SQLite's log is moved into its file beside those that write and those that read."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from app import checkpoints
from app.checkpoints import Checkpoints, move
from app.extensions import db
from app.tasks.models import Task
from tests.waiting import wait_for

TITLES = [f"Task {number}" for number in range(20)]


@pytest.fixture
def engine(app):
    with app.app_context():
        if db.engine.dialect.name != "sqlite":
            pytest.skip("PostgreSQL does so by itself.")
        return db.engine


@pytest.fixture
def log(engine):
    """The log's file, empty."""
    assert move(engine)
    found = Path(f"{engine.url.database}-wal")
    assert found.stat().st_size == 0
    return found


@contextmanager
def beside(app):
    moving = Checkpoints(app)
    moving.start()
    try:
        yield moving
    finally:
        moving.stop()


@contextmanager
def reading(engine):
    """Somebody reads all the while, and sees what was there at the beginning."""
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        raw.execute("BEGIN")
        raw.execute("SELECT count(*) FROM tasks").fetchone()
        yield
        raw.execute("ROLLBACK")


def test_a_log_that_is_long_is_cut_while_tasks_are_written(app, alice, log, monkeypatch, stored):
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.01)
    # Less than one task, or what was written after a cut could be short, and be left.
    monkeypatch.setattr(checkpoints, "LONG", 10_000)
    with beside(app):
        for title in TITLES:
            alice.task(title)
        wait_for(lambda: log.stat().st_size == 0, 10)
    assert stored(select(func.count()).select_from(Task)) == [(len(TITLES),)]
    assert [task["title"] for task in alice.get("/tasks?sort=created_at").json["data"]] == TITLES


def test_a_log_that_is_short_is_left_alone(app, alice, log, monkeypatch):
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.01)
    with beside(app):
        alice.task("Milk")
        Event().wait(0.2)
    assert log.stat().st_size > 0


def test_who_reads_for_long_keeps_nobody_from_writing(alice, engine, log):
    alice.task("Before")
    with reading(engine):
        alice.task("Meanwhile")
        started = monotonic()
        assert not move(engine)
        assert monotonic() - started < 1
        alice.task("After")
        assert log.stat().st_size > 0
    assert move(engine)
    assert log.stat().st_size == 0
    titles = [task["title"] for task in alice.get("/tasks?sort=created_at").json["data"]]
    assert titles == ["Before", "Meanwhile", "After"]


def test_a_connection_has_its_patience_back(engine, log):
    move(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA busy_timeout")) == 30_000


def test_of_two_that_move_at_once_both_end_well(alice, engine, log):
    alice.task("Milk")
    with ThreadPoolExecutor(4) as threads:
        assert any(threads.map(move, [engine] * 4))
    assert alice.get("/tasks").json["data"][0]["title"] == "Milk"


def test_a_failure_is_logged_and_tried_again(app, alice, log, monkeypatch, caplog):
    tries = []

    def fail(_):
        tries.append(1)
        raise OperationalError("PRAGMA", None, Exception("disk I/O error"))

    monkeypatch.setattr(checkpoints, "INTERVAL", 0.01)
    monkeypatch.setattr(checkpoints, "LONG", 1)
    monkeypatch.setattr(checkpoints, "move", fail)
    alice.task("Milk")
    with caplog.at_level(logging.ERROR), beside(app):
        wait_for(lambda: len(tries) > 1, 10)
    assert "The log of SQLite was not moved" in caplog.text
