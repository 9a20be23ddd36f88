"""Waiting for what other threads and processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(read: Callable[[], Found], seconds: float) -> Found:
    """Return what is read, once it is anything. Raises AssertionError where it does not come."""
    deadline = time.monotonic() + seconds
    while not (found := read()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found
