"""Periodic tasks: run by Celery beat if there is a broker, otherwise by the outbox's thread.

A module registers a function without parameters that ends with its commit::

    @periodic(every=timedelta(days=1), purges=True)
    def purge_events() -> int:
        \"\"\"Delete old events, and return how many rows were deleted.\"\"\"

Each runs once when its process starts. It may run twice, or in several processes at once.
``flask outbox purge`` runs those with ``purges``.
"""

import logging
import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from app.extensions import db

PeriodicFunction = Callable[[], int | None]


class PeriodicTask(NamedTuple):
    """A function that runs at an interval; one that ``purges`` returns the number of rows."""

    run: PeriodicFunction
    every: timedelta
    purges: bool


periodic_tasks: dict[str, PeriodicTask] = {}
_log = logging.getLogger(__name__)


def periodic(
    *, every: timedelta, purges: bool = False
) -> Callable[[PeriodicFunction], PeriodicFunction]:
    """Register a function to run at an interval; its module and name identify it."""

    def decorator(function: PeriodicFunction) -> PeriodicFunction:
        name = f"{function.__module__}.{function.__qualname__}"
        periodic_tasks[name] = PeriodicTask(function, every, purges)
        return function

    return decorator


def run(name: str) -> int | None:
    """Run a periodic task now, and return its result.

    Raises LookupError for an unknown name, for example of another release.
    """
    started = time.perf_counter()
    rows = periodic_tasks[name].run()
    seconds = time.perf_counter() - started
    extra = {"periodic": name, "rows": rows, "duration_ms": round(seconds * 1000, 2)}
    _log.info("Periodic task %s: done.", name, extra=extra)
    return rows


class Timetable:
    """The last runs of the periodic tasks, in a process without a broker."""

    def __init__(self) -> None:
        self._last_runs: dict[str, float] = {}

    def run_next(self) -> bool:
        """Run one due task, if any; return whether there was one."""
        now = time.monotonic()
        for name, task in periodic_tasks.items():
            if now - self._last_runs.get(name, -math.inf) >= task.every.total_seconds():
                self._last_runs[name] = now
                try:
                    run(name)
                except Exception:  # noqa: BLE001  # tasks may raise anything
                    _log.exception("Periodic task %s failed; it runs again later.", name)
                db.session.remove()
                return True
        return False
