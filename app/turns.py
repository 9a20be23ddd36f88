"""Where those who would write to one SQLite file wait in line, as threads and as processes.

SQLite has room for one writer, and has the others nap and look again, each time longer.
"""

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Line:
    """The line before one file; beside that is another, which the system locks and wakes by."""

    def __init__(self, path: str, patience: float) -> None:
        self._path = f"{path}-turn"
        self._patience = patience
        self._threads = Lock()
        self._file: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn.

        Whoever waits in vain among the threads goes on, to be told so by SQLite in its own words.
        A process that is stuck with its turn is ended by gunicorn, and the turn with it.
        """
        if not self._threads.acquire(timeout=self._patience):
            yield
            return
        try:
            file = self._opened()
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _opened(self) -> int:
        # First here, for a lock is shared by those who were forked with its file.
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            weakref.finalize(self, os.close, self._file)
        return self._file
