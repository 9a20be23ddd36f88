"""Model of tasks, and the columns that are derived from others."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from enum import IntEnum, StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, backref, mapped_column, relationship

from app.auth.models import User
from app.db.base import Model
from app.db.ddl import dialect_index, keyset_index
from app.db.types import BigIntId, BinaryCollatedString, OrderedEnum, SearchVector, StringEnum
from app.tasks.search import stored_words
from app.tasks.search_index import attach_search_index


class Status(StrEnum):
    """Status of a task: the four of a VTODO (RFC 5545, 3.8.1.11)."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


TERMINAL_STATUSES = (Status.completed, Status.cancelled)


# Time of day of the reminder of a task with a due date, in its zone.
REMINDER_TIME = time(8)


class Priority(IntEnum):
    """Priority of a task, sorted by its value."""

    none = 0
    low = 1
    medium = 2
    high = 3
    urgent = 4


_HAS_REMINDER = text("remind_at IS NOT NULL")


class Task(Model):
    """A task. ``version`` is incremented with each change that clients can see.

    ``remind_at`` is null once the reminder was sent, or if there is none to send.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("length(title) BETWEEN 1 AND 150", name="title"),
        CheckConstraint("length(description) <= 20000", name="description"),
        CheckConstraint(
            "status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="status"
        ),
        CheckConstraint("priority BETWEEN 0 AND 4", name="priority"),
        CheckConstraint("due_date IS NULL OR due_at IS NULL", name="one_due"),
        CheckConstraint(
            "(due_key IS NULL) = (due_date IS NULL AND due_at IS NULL)", name="due_key"
        ),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at"),
        CheckConstraint("version >= 1", name="version"),
        *keyset_index("tasks", "created_by", "created_at"),
        *keyset_index("tasks", "created_by", "updated_at"),
        *keyset_index("tasks", "created_by", "due_key"),
        *keyset_index("tasks", "created_by", "priority"),
        *keyset_index("tasks", "created_by", "title_key"),
        *keyset_index("tasks", "created_by", "position"),
        Index(
            "ix_tasks_remind_at",
            "remind_at",
            sqlite_where=_HAS_REMINDER,
            postgresql_where=_HAS_REMINDER,
        ),
        # SQLite has the table tasks_search instead, see search_index.py.
        dialect_index(
            "postgresql",
            Index(
                "ix_tasks_search_words",
                "search_words",
                postgresql_using="gin",
                # With fast update, each search would read the list of pending entries too.
                postgresql_with={"fastupdate": "off"},
            ),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    title: Mapped[str] = mapped_column(String(150))
    title_key: Mapped[str] = mapped_column(BinaryCollatedString(450))
    description: Mapped[str | None] = mapped_column(Text)
    search_words: Mapped[str] = mapped_column(SearchVector, server_default="", deferred=True)
    status: Mapped[str] = mapped_column(StringEnum)
    priority: Mapped[str] = mapped_column(OrderedEnum(Priority))
    due_date: Mapped[date | None]
    due_at: Mapped[datetime | None]
    due_key: Mapped[datetime | None]
    remind_at: Mapped[datetime | None]
    time_zone: Mapped[str | None] = mapped_column(String(64))
    position: Mapped[str] = mapped_column(BinaryCollatedString(255))
    version: Mapped[int] = mapped_column()
    created_by: Mapped[int] = mapped_column(BigIntId, ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]

    creator: Mapped[User] = relationship(
        lazy="raise", backref=backref("tasks", lazy="raise", passive_deletes="all")
    )

    # The ORM increments the version, and updates the row only at the version that it read.
    __mapper_args__ = {"version_id_col": version}


attach_search_index(Task.metadata.tables["tasks"])

# What clients can set; all other columns are derived.
CLIENT_COLUMNS = (
    Task.title,
    Task.description,
    Task.status,
    Task.priority,
    Task.due_date,
    Task.due_at,
    Task.time_zone,
    Task.position,
)
TASK_COLUMNS = (
    Task.id,
    *CLIENT_COLUMNS,
    Task.version,
    Task.created_by,
    Task.created_at,
    Task.updated_at,
    Task.completed_at,
)
# The columns that the time of a reminder depends on.
REMINDER_COLUMNS = {"status", "due_date", "due_at", "time_zone"}


def compute_changes(
    state: Mapping[str, Any], changes: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the columns to update, with the derived ones; empty if nothing changes.

    ``state`` has the CLIENT_COLUMNS, ``created_by``, and ``owner_zone``, the zone of due dates
    without one.
    """
    values = {name: value for name, value in changes.items() if state[name] != value}
    if not values:
        return {}
    if values.get("due_at"):
        values["due_date"] = None
    elif values.get("due_date"):
        values["due_at"] = None
    after = {**state, **values}
    if "title" in values:
        values["title_key"] = after["title"].casefold()
    if "title" in values or "description" in values:
        values["search_words"] = stored_words(
            after["created_by"], after["title"], after["description"]
        )
    if "due_date" in values or "due_at" in values:
        values["due_key"] = due_sort_key(after["due_date"], after["due_at"])
    if "status" in values:
        values["completed_at"] = now if after["status"] == Status.completed else None
    # A task is reminded of again only if the time of its reminder changes.
    if values.keys() & REMINDER_COLUMNS:
        remind_at = _reminder_time(after)
        if remind_at != _reminder_time(state):
            values["remind_at"] = future_or_none(remind_at, now)
    return values | {"updated_at": now}


def build_task_values(now: datetime, *, owner_zone: str, **data: Any) -> dict[str, Any]:
    """Return all columns of a new task from ``data``, its CLIENT_COLUMNS and ``created_by``.

    ``owner_zone`` is the zone of due dates without one.
    """
    remind_at = _reminder_time({**data, "owner_zone": owner_zone})
    return data | {
        "title_key": data["title"].casefold(),
        "search_words": stored_words(data["created_by"], data["title"], data.get("description")),
        "due_key": due_sort_key(data["due_date"], data["due_at"]),
        "remind_at": future_or_none(remind_at, now),
        "version": 1,
        "created_at": now,
        "updated_at": now,
        "completed_at": now if data["status"] == Status.completed else None,
    }


def _reminder_time(task: Mapping[str, Any]) -> datetime | None:
    if task["status"] in TERMINAL_STATUSES:
        return None
    return due_moment(task["due_date"], task["due_at"], task["time_zone"] or task["owner_zone"])


def due_sort_key(due_date: date | None, due_at: datetime | None) -> datetime | None:
    """Return the instant that a task is sorted by; a date sorts by its beginning in UTC."""
    if due_date is not None:
        return datetime.combine(due_date, time(), UTC)
    return due_at


def due_moment(due_date: date | None, due_at: datetime | None, zone: str) -> datetime | None:
    """Return when to remind of a task: at ``due_at``, or in the morning of ``due_date``."""
    if due_date is not None:
        return datetime.combine(due_date, REMINDER_TIME, ZoneInfo(zone))
    return due_at


def future_or_none(moment: datetime | None, now: datetime) -> datetime | None:
    """Return ``moment`` in UTC, or None if it has passed: there are no late reminders."""
    return moment.astimezone(UTC) if moment is not None and moment > now else None
