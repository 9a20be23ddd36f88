"""The table of tasks."""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time
from enum import IntEnum, StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import (
    Model,
    Rank,
    RowId,
    Word,
    Words,
    code_point_text,
    keyset,
    only_on,
)
from app.errors import StaleVersion
from app.tasks.search import stored_words


class Status(StrEnum):
    """How far a task is: the four of a VTODO (RFC 5545, 3.8.1.11)."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


CLOSED = (Status.completed, Status.cancelled)


# When one is reminded of a day, by the clocks of its zone.
MORNING = time(8)


class Priority(IntEnum):
    """How pressing a task is, by rank."""

    none = 0
    low = 1
    medium = 2
    high = 3
    urgent = 4


_awaited = text("remind_at IS NOT NULL")


class Task(Model):
    """Something to do. ``version`` grows with each change; the sort keys follow what they sort.

    ``remind_at`` is when its owner is to be reminded of it, or null where that is over or needless.
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
        *keyset("tasks", "created_by", "created_at"),
        *keyset("tasks", "created_by", "updated_at"),
        *keyset("tasks", "created_by", "due_key"),
        *keyset("tasks", "created_by", "priority"),
        *keyset("tasks", "created_by", "title_key"),
        *keyset("tasks", "created_by", "position"),
        Index(
            "ix_tasks_remind_at",
            "remind_at",
            sqlite_where=_awaited,
            postgresql_where=_awaited,
        ),
        # SQLite's is a table of FTS5, tasks_search, which triggers keep: the migrations have it.
        only_on(
            "postgresql",
            Index(
                "ix_tasks_search_words",
                "search_words",
                postgresql_using="gin",
                postgresql_with={
                    "fastupdate": "off"
                },  # else each search reads what is yet to be sorted in
            ),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    title: Mapped[str] = mapped_column(String(150))
    title_key: Mapped[str] = mapped_column(code_point_text(450))
    description: Mapped[str | None] = mapped_column(Text)
    search_words: Mapped[str] = mapped_column(Words, server_default="", deferred=True)
    status: Mapped[str] = mapped_column(Word)
    priority: Mapped[str] = mapped_column(Rank(Priority))
    due_date: Mapped[date | None]
    due_at: Mapped[datetime | None]
    due_key: Mapped[datetime | None]
    remind_at: Mapped[datetime | None]
    time_zone: Mapped[str | None] = mapped_column(String(64))
    position: Mapped[str] = mapped_column(code_point_text(255))
    version: Mapped[int] = mapped_column()
    created_by: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]

    # Each UPDATE names the version that it was decided on: check and write are one statement.
    __mapper_args__ = {"version_id_col": version}

    def require_version(self, versions: Collection[int] | None) -> None:
        """Raise StaleVersion unless this is one of ``versions``; None stands for any."""
        require_version(self.version, versions)

    def apply(self, changes: Mapping[str, Any], now: datetime, *, owner_zone: str) -> None:
        """Take on ``changes``, and what follows from them; days are those of ``owner_zone``."""
        before = {name: getattr(self, name) for name in DECIDING}
        for name, value in changed_values(before, changes, now, owner_zone=owner_zone).items():
            setattr(self, name, value)


# What a client says of a task, and whose it is: all else follows.
DECIDING = (
    "title",
    "description",
    "status",
    "priority",
    "due_date",
    "due_at",
    "time_zone",
    "position",
    "created_by",
)


def require_version(version: int, versions: Collection[int] | None) -> None:
    """Raise StaleVersion unless a task's version is one of ``versions``; None stands for any."""
    if versions is not None and version not in versions:
        raise StaleVersion(version)


def changed_values(
    before: Mapping[str, Any], changes: Mapping[str, Any], now: datetime, *, owner_zone: str
) -> dict[str, Any]:
    """Return the columns that ``changes`` move, and those that follow them: none if it is so yet.

    A day without a zone is one of ``owner_zone``.
    """
    changed = {name: value for name, value in changes.items() if before[name] != value}
    if not changed:
        return {}
    if changed.get("due_at"):
        changed["due_date"] = None
    elif changed.get("due_date"):
        changed["due_at"] = None
    after = {**before, **changed}
    if "title" in changed:
        changed["title_key"] = after["title"].casefold()
    if "title" in changed or "description" in changed:
        changed["search_words"] = stored_words(
            after["created_by"], after["title"], after["description"]
        )
    if "due_date" in changed or "due_at" in changed:
        changed["due_key"] = due_key(after["due_date"], after["due_at"])
    if "status" in changed:
        changed["completed_at"] = now if after["status"] == Status.completed else None
    # One that was reminded of is so again only where its moment has moved.
    if (moment := _moment(after, owner_zone)) != _moment(before, owner_zone):
        changed["remind_at"] = if_ahead(moment, now)
    return changed | {"updated_at": now}


def _moment(task: Mapping[str, Any], owner_zone: str) -> datetime | None:
    if task["status"] in CLOSED:
        return None
    return due_moment(task["due_date"], task["due_at"], task["time_zone"] or owner_zone)


def task_values(now: datetime, *, owner_zone: str, **said: Any) -> dict[str, Any]:
    """Return the columns of a task at its creation: what is said of it, and what follows.

    A day without a zone is one of ``owner_zone``.
    """
    done = said["status"] == Status.completed
    zone = said["time_zone"] or owner_zone
    moment = due_moment(said["due_date"], said["due_at"], zone)
    return said | {
        "title_key": said["title"].casefold(),
        "search_words": stored_words(said["created_by"], said["title"], said.get("description")),
        "due_key": due_key(said["due_date"], said["due_at"]),
        "remind_at": None if said["status"] in CLOSED else if_ahead(moment, now),
        "version": 1,
        "created_at": now,
        "updated_at": now,
        "completed_at": now if done else None,
    }


def due_key(due_date: date | None, due_at: datetime | None) -> datetime | None:
    """Return the instant that a due day or a due instant sorts by; a day by its beginning."""
    if due_date is not None:
        return datetime.combine(due_date, time(), UTC)
    return due_at


def due_moment(due_date: date | None, due_at: datetime | None, zone: str) -> datetime | None:
    """Return when one is to be reminded: of an instant then, of a day in ``zone`` that morning."""
    if due_date is not None:
        return datetime.combine(due_date, MORNING, ZoneInfo(zone))
    return due_at


def if_ahead(moment: datetime | None, now: datetime) -> datetime | None:
    """Return a moment in UTC if it is yet to come: of what is past nobody is reminded."""
    return moment.astimezone(UTC) if moment is not None and moment > now else None
