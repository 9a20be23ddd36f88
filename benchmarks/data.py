"""The rows that every server is measured with: the same accounts, tasks and ids, each time."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery"  # noqa: S105  # of accounts that live as long as the run
START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=30)
STATUSES = ("pending", "in_progress", "completed", "cancelled")
PRIORITIES = ("none", "low", "medium", "high", "urgent")
VERBS = ("Write", "Review", "Send", "Plan", "Fix", "Order", "Prepare", "Clean", "Book", "Call")
THINGS = ("report", "invoices", "offsite", "tap", "cake", "dentist", "fence", "train", "shoes")
NOTES = (None, "Ask the others first.", "See the shared folder.", "- [ ] sort\n- [ ] send")
ZONES = (None, None, "Europe/Zurich", "America/New_York", "Asia/Tokyo")
# Who a task is for, and what is searched: each in one task of 216.
NAMES = tuple(
    map(
        "".join,
        product(
            "BDKLMR",
            ("ani", "elo", "iru"),
            ("bas", "dor", "fin", "gam", "hul", "jek", "lom", "nax", "pid", "rus", "tov", "zek"),
        ),
    )
)


def _positions() -> Any:
    """Load our rule for places by its path: its package would bring the application along."""
    spec = spec_from_file_location("positions", ROOT / "app" / "tasks" / "positions.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("app/tasks/positions.py is not there.")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


after = _positions().after


def usernames(count: int) -> list[str]:
    """Return the names of the accounts, whose ids are 1 and what follows."""
    return [f"user{number}" for number in range(1, count + 1)]


def task_ids(user_id: int, users: int, each: int) -> range:
    """Return the ids of an account's tasks, the oldest first."""
    return range(user_id, users * each + 1, users)


def tasks(users: int, each: int) -> Iterator[dict[str, Any]]:
    """Yield the tasks in the order of their ids, each made after the last; owners take turns."""
    chance = random.Random(users * each)
    places: dict[int, str | None] = {}
    for number in range(users * each):
        owner = number % users + 1
        places[owner] = after(places.get(owner))
        now = START + STEP * number
        status = chance.choice(STATUSES)
        day, instant = _due(chance, now)
        yield {
            "title": f"{chance.choice(VERBS)} {chance.choice(THINGS)} for {chance.choice(NAMES)}",
            "description": chance.choice(NOTES),
            "status": status,
            "priority": chance.choice(PRIORITIES),
            "due_date": day,
            "due_at": instant,
            "time_zone": chance.choice(ZONES),
            "position": places[owner],
            "created_by": owner,
            "created_at": now,
            "updated_at": now,
            "completed_at": now if status == "completed" else None,
        }


def _due(chance: random.Random, now: datetime) -> tuple[Any, Any]:
    due = now + timedelta(hours=chance.randint(1, 4000))
    return chance.choice([(None, None), (due.date(), None), (None, due)])
