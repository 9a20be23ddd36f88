"""The floor: of a process's threads, one at a time answers a request, as they come.

Python runs one thread at a time in any case. Where several answer at once, each gives way to the
others wherever it might have to wait, mostly for nothing; docs/decisions/0016-floor.md has what
that costs.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

# Whoever has the floor for longer is likely to wait for something, and others go on beside it.
PATIENCE = 0.01
NOBODY = 0


class Place:
    """A place in the line of those who wait."""

    __slots__ = ("called", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.called = Lock()
        self.called.acquire()


class Floor:
    """Goes from thread to thread. It keeps nothing safe: whoever waits in vain takes it away."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._line: deque[Place] = deque()
        self._holder = NOBODY

    def take(self, *, first: bool = False) -> None:
        """Wait until it is free, and hold it; ``first`` before those who wait already.

        Each who is before may have it for PATIENCE seconds; then it is taken away.
        """
        me = get_ident()
        if self._holder == me:
            return
        with self._lock:
            if self._holder == NOBODY:
                self._holder = me
                return
            place = Place(me)
            if first:
                self._line.appendleft(place)
            else:
                self._line.append(place)
            before = 1 if first else len(self._line)
        if place.called.acquire(timeout=PATIENCE * before):
            return
        with self._lock:
            # It may have been handed over meanwhile, and even been taken away since.
            if place in self._line:
                self._line.remove(place)
                self._holder = me

    def leave(self) -> bool:
        """Hand it to who is next. Tell whether this thread still had it."""
        with self._lock:
            if self._holder != get_ident():
                return False
            if self._line:
                place = self._line.popleft()
                self._holder = place.thread
                place.called.release()
            else:
                self._holder = NOBODY
            return True

    @contextmanager
    def left(self) -> Iterator[None]:
        """Leave it to others for something that takes its time, where this thread has it."""
        had = self.leave()
        try:
            yield
        finally:
            if had:
                self.take(first=True)


floor = Floor()
