"""Waiting for the results of threads, processes and outbox messages."""

import time
from collections.abc import Callable
from typing import TypeVar

from app.outbox import dispatcher

T = TypeVar("T")


def wait_for(read: Callable[[], T], seconds: float) -> T:
    """Return the first true result of ``read``. Raises AssertionError on timeout."""
    deadline = time.monotonic() + seconds
    while not (result := read()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
    return result


def drain() -> int:
    """Handle every due outbox message, and return how many."""
    count = 0
    while dispatcher.dispatch_next():
        count += 1
    return count
