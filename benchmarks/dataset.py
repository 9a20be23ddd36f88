"""The users and tasks that every server is filled with: the same rows and ids in each run."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery"  # noqa: S105  # of users in a throwaway database
START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=30)
STATUSES = ("pending", "in_progress", "completed", "cancelled")
PRIORITIES = ("none", "low", "medium", "high", "urgent")
VERBS = ("Write", "Review", "Send", "Plan", "Fix", "Order", "Prepare", "Clean", "Book", "Call")
THINGS = ("report", "invoices", "offsite", "tap", "cake", "dentist", "fence", "train", "shoes")
NOTES = (None, "Ask the others first.", "See the shared folder.", "- [ ] sort\n- [ ] send")
ZONES = (None, None, "Europe/Zurich", "America/New_York", "Asia/Tokyo")
# Search terms: each is in the title of one task of 216.
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


def _load_positions() -> Any:
    """Load one module of ``app`` by its path: the peers must not import the application."""
    spec = spec_from_file_location("positions", ROOT / "app" / "tasks" / "positions.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("app/tasks/positions.py is missing.")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


next_position = _load_positions().after


def usernames(count: int) -> list[str]:
    """Return the usernames; the ids of the users are 1, 2, 3 and so on."""
    return [f"user{number}" for number in range(1, count + 1)]


def task_ids(user_id: int, users: int, tasks_per_user: int) -> range:
    """Return the ids of a user's tasks, oldest first."""
    return range(user_id, users * tasks_per_user + 1, users)


def tasks(users: int, tasks_per_user: int) -> Iterator[dict[str, Any]]:
    """Yield the tasks in the order of their ids and creation; the users take turns."""
    chance = random.Random(users * tasks_per_user)
    positions: dict[int, str | None] = {}
    for number in range(users * tasks_per_user):
        owner = number % users + 1
        positions[owner] = next_position(positions.get(owner))
        created_at = START + STEP * number
        status = chance.choice(STATUSES)
        due_date, due_at = _due(chance, created_at)
        yield {
            "title": f"{chance.choice(VERBS)} {chance.choice(THINGS)} for {chance.choice(NAMES)}",
            "description": chance.choice(NOTES),
            "status": status,
            "priority": chance.choice(PRIORITIES),
            "due_date": due_date,
            "due_at": due_at,
            "time_zone": chance.choice(ZONES),
            "position": positions[owner],
            "created_by": owner,
            "created_at": created_at,
            "updated_at": created_at,
            "completed_at": created_at if status == "completed" else None,
        }


def _due(chance: random.Random, created_at: datetime) -> tuple[Any, Any]:
    due = created_at + timedelta(hours=chance.randint(1, 4000))
    return chance.choice([(None, None), (due.date(), None), (None, due)])
