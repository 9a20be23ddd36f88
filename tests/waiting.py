"""Polling for the results of other threads and processes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(read: Callable[[], T], seconds: float) -> T:
    """Return the first true result of ``read``. Raises AssertionError on timeout."""
    deadline = time.monotonic() + seconds
    while not (result := read()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
    return result
