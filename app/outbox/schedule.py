"""What is done again and again: by Celery where there is a broker, else by the server's thread.

A module registers a function that takes nothing and ends with its commit::

    @periodic(every=timedelta(days=1), purges=True)
    def purge_events() -> int:
        \"\"\"Delete what is old, and return how many rows that were.\"\"\"

Each is run once when its process starts, and may be run twice or by several at once. Those with
``purges`` are also what ``flask jobs purge`` runs.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from app.extensions import db

Chore = Callable[[], int | None]


@dataclass(frozen=True)
class Periodic:
    """A function that is run every so often; one that ``purges`` returns how many rows went."""

    run: Chore
    every: timedelta
    purges: bool


_registered: dict[str, Periodic] = {}
_log = logging.getLogger(__name__)


def periodic(*, every: timedelta, purges: bool = False) -> Callable[[Chore], Chore]:
    """Have a function run ``every`` so often, by the name of its module and its own."""

    def decorator(chore: Chore) -> Chore:
        _registered[f"{chore.__module__}.{chore.__qualname__}"] = Periodic(chore, every, purges)
        return chore

    return decorator


def registered() -> Mapping[str, Periodic]:
    """Return all that is done again and again, by name."""
    return MappingProxyType(_registered)


def run(name: str) -> int | None:
    """Run what is called so, now, and return what it does.

    Raises LookupError where nothing is, as for a name that only another release knows.
    """
    began = time.perf_counter()
    rows = _registered[name].run()
    seconds = time.perf_counter() - began
    told = {"periodic": name, "rows": rows, "duration_ms": round(seconds * 1000, 2)}
    _log.info("Periodic %s: done.", name, extra=told)
    return rows


class Timetable:
    """When a process without a broker has run what is done again and again."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def run_next(self) -> bool:
        """Run one that is due, and tell whether there was any; one that fails is due later."""
        now = time.monotonic()
        for name, chore in _registered.items():
            if now - self._last.get(name, -math.inf) >= chore.every.total_seconds():
                self._last[name] = now
                try:
                    run(name)
                except Exception:  # noqa: BLE001  # each fails in its own way
                    _log.exception("Periodic %s failed; it is run again later.", name)
                db.session.remove()
                return True
        return False
