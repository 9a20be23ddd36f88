"""What the peers have in common with us: words, limits, and what follows from a change."""

import os
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any
from zoneinfo import available_timezones

SECRET = os.environ["SECRET_KEY"]
PUBLIC_URL = os.environ["PUBLIC_URL"]
# SQLAlchemy and Django are told of psycopg 3 in their own ways.
DATABASE_URL = os.environ["DATABASE_URL"]
THREADS = int(os.environ["THREADS"])
LIFETIME = timedelta(minutes=15)
ZONES = available_timezones()
POSITION = re.compile(r"[0-9A-Za-z]{1,255}")
SORTS = ("created_at", "priority")


class Status(StrEnum):
    """How far a task is."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(IntEnum):
    """How pressing a task is, stored by rank."""

    none = 0
    low = 1
    medium = 2
    high = 3
    urgent = 4


def now() -> datetime:
    return datetime.now(UTC)


def settle(task: Any, changed: Collection[str]) -> None:
    """Bring a new or changed task in order: one due at most, and its instants."""
    task.updated_at = now()
    task.created_at = task.created_at or task.updated_at
    if "due_at" in changed and task.due_at:
        task.due_date = None
    elif "due_date" in changed and task.due_date:
        task.due_at = None
    if "status" in changed:
        task.completed_at = task.updated_at if task.status == Status.completed else None
