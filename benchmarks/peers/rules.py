"""Settings, enumerations and rules that the peers share."""

import os
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any
from zoneinfo import available_timezones

SECRET = os.environ["SECRET_KEY"]
PUBLIC_URL = os.environ["PUBLIC_URL"]
DATABASE_URL = os.environ["DATABASE_URL"]
THREADS = int(os.environ["THREADS"])
LIFETIME = timedelta(minutes=15)
ZONES = available_timezones()
POSITION = re.compile(r"[0-9A-Za-z]{1,255}")
SORTS = ("created_at", "priority")


class Status(StrEnum):
    """The status of a task."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(IntEnum):
    """The priority of a task, stored as a number that sorts."""

    none = 0
    low = 1
    medium = 2
    high = 3
    urgent = 4


def now() -> datetime:
    return datetime.now(UTC)


def update_timestamps(task: Any, changed: Collection[str]) -> None:
    """Set the timestamps of a changed task, and clear the due time that a new one replaces."""
    task.updated_at = now()
    task.created_at = task.created_at or task.updated_at
    if "due_at" in changed and task.due_at:
        task.due_date = None
    elif "due_date" in changed and task.due_date:
        task.due_at = None
    if "status" in changed:
        task.completed_at = task.updated_at if task.status == Status.completed else None
