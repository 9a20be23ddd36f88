"""SQLite's log is moved into its file by a thread beside the requests, which would wait for that.

SQLite has the write that makes its log too long move all of it, and all others that write wait in
line behind it: some 100 milliseconds for 64 MB.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.database import MOST_LOGGED, turn_to_write
from app.extensions import db

# How often to look, in seconds, and how many bytes of log are moved.
INTERVAL = 0.25
LONG = MOST_LOGGED // 4
# How many milliseconds those that write are kept waiting for those that read.
PATIENCE = 50

_log = logging.getLogger(__name__)


class Checkpoints:
    """Keeps the log of an application's SQLite file short, from ``start`` to ``stop``."""

    def __init__(self, app: Flask) -> None:
        with app.app_context():
            self._engine = db.engine
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin, in a thread that does not outlive the process; other databases need none."""
        if self._engine.dialect.name == "sqlite":
            self._thread.start()

    def stop(self) -> None:
        """End once the move at hand is done."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        log = Path(f"{self._engine.url.database}-wal")
        while not self._stopping.wait(INTERVAL):
            try:
                if log.exists() and log.stat().st_size >= LONG:
                    move(self._engine)
            except (OSError, SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
                _log.exception("The log of SQLite was not moved; it is tried again.")


def move(engine: Engine) -> bool:
    """Move the log into the file and cut it; tell whether nobody was in the way."""
    connection = engine.raw_connection()
    try:
        ask: Callable[[str], Any] = connection.cursor().execute
        # Most of it while others write on, then most of what they wrote meanwhile.
        for _ in range(2):
            in_the_way, *_ = ask("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if in_the_way:  # another process is about it
                return False
        [patience] = ask("PRAGMA busy_timeout").fetchone()
        ask(f"PRAGMA busy_timeout = {PATIENCE}")
        try:
            with turn_to_write(engine):
                in_the_way, *_ = ask("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            ask(f"PRAGMA busy_timeout = {patience}")
        return not in_the_way
    finally:
        connection.close()
