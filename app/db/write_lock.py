"""Lock that makes writers of an SQLite file wait in order.

SQLite allows one writer; the others poll with growing delays, which makes some wait very long.
"""

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


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
            file = self._open()
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _open(self) -> int:
        # Opened on first use: processes that inherit one descriptor by fork share its lock.
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            weakref.finalize(self, os.close, self._file)
        return self._file
