"""SQLite connections, and the lock that makes writers of one file wait in order.

SQLite allows one writer; the others poll with growing delays, which makes some wait very long.
"""

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

from sqlalchemy import Engine, event

# Execution option of the engine that holds its write lock.
WRITE_LOCK = "sqlite_write_lock"
# SQLite maps at most this much of a file into memory, unless compiled to map less.
MAX_MMAP_BYTES = 0x7FFF0000


class SqliteWriteLock:
    """Advisory lock of one database file, between threads and processes.

    It is not a mutex: it only orders writers. SQLite itself keeps them apart.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = f"{path}-turn"
        self._timeout = timeout
        self._threads = Lock()
        self._file: int | None = None

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Wait for the lock. On timeout, proceed anyway; SQLite then raises "database is locked".

        gunicorn ends a process that hangs, which releases the file lock.
        """
        if not self._threads.acquire(timeout=self._timeout):
            yield
            return
        try:
            # Opened on first use: processes that inherit one descriptor by fork share its lock.
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                weakref.finalize(self, os.close, self._file)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()


def configure(engine: Engine, timeout: float) -> None:
    """Set the pragmas of each connection, and give a file its write lock."""
    event.listen(engine, "connect", _set_pragmas)
    path = engine.url.database
    if path and path != ":memory:" and not path.startswith("file:"):
        engine.update_execution_options(**{WRITE_LOCK: SqliteWriteLock(path, timeout)})


def sqlite_write_lock(engine: Engine) -> AbstractContextManager[None]:
    """Wait for the write lock of an SQLite file; on other databases do nothing."""
    lock: SqliteWriteLock | None = engine.get_execution_options().get(WRITE_LOCK)
    return nullcontext() if lock is None else lock.acquire()


def _set_pragmas(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit survives a crash of the process; the last ones may not survive a power loss.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Searches read scattered pages; copying each one takes longer than reading from it.
    connection.execute(f"PRAGMA mmap_size = {MAX_MMAP_BYTES}")
