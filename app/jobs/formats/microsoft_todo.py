"""Microsoft To Do: tasks as Microsoft Graph returns them, alone or in lists with ``tasks``.

A due date that is midnight, in its own zone or in that of the user, is a day.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from app.jobs.formats.base import RowError, due_at, to_zone
from app.jobs.formats.json_tool import (
    Item,
    JsonToolReader,
    Outline,
    choice_of,
    text_of,
    time_of,
)
from app.jobs.formats.json_walker import EACH
from app.jobs.formats.zones import require_zone
from app.tasks.models import Status

READ = frozenset({"title", "body", "status", "importance", "dueDateTime"})
NOT_READ = frozenset(
    {
        *("@odata.etag", "@odata.context", "id", "createdDateTime", "lastModifiedDateTime"),
        *("bodyLastModifiedDateTime", "completedDateTime", "startDateTime", "reminderDateTime"),
        *("isReminderOn", "hasAttachments", "categories", "recurrence", "linkedResources"),
        *("linkedResources@odata.context", "checklistItems", "checklistItems@odata.context"),
        *("attachments", "attachmentSessions", "extensions"),
    }
)
STATUSES = {
    None: Status.pending,
    "notStarted": Status.pending,
    "inProgress": Status.in_progress,
    "completed": Status.completed,
    "waitingOnOthers": Status.pending,
    "deferred": Status.pending,
}
PRIORITIES = {None: "none", "normal": "none", "low": "low", "high": "high"}
OUT_OF_RANGE = "dueDateTime is out of range."


def convert(item: Item, time_zone: str) -> Mapping[str, Any]:
    """Return the fields of a task."""
    return {
        "title": text_of(item, "title"),
        "description": text_of(_object(item, "body"), "content") or None,
        "status": choice_of(item, "status", STATUSES),
        "priority": choice_of(item, "importance", PRIORITIES),
        **_due(_object(item, "dueDateTime"), time_zone),
    }


def _object(item: Item, name: str) -> Item:
    value = item.get(name)
    if value is not None and not isinstance(value, dict):
        raise RowError("Must be an object.", name)
    return value or {}


def _due(value: Item, default_zone: str) -> Mapping[str, Any]:
    due = time_of(value, "dateTime")
    if due is None:
        return {}
    name = text_of(value, "timeZone")
    zone = ZoneInfo(require_zone(name) if name else default_zone)
    due = due if due.tzinfo else due.replace(tzinfo=zone)
    for local in (due, to_zone(due, ZoneInfo(default_zone), OUT_OF_RANGE)):
        if local.time() == time():
            return {"due_date": datetime.date(local).isoformat()}
    return due_at(due, None, default_zone, OUT_OF_RANGE)


def _is_export(outline: Outline) -> bool:
    return not {"lastModifiedDateTime", "importance", "wellknownListName"}.isdisjoint(outline.names)


def _path(outline: Outline) -> Sequence[str]:
    top = (EACH,) if outline.is_array else ("value", EACH)
    return (*top, "tasks", EACH) if "tasks" in outline.names else top


READER = JsonToolReader(_is_export, _path, READ, NOT_READ, convert)
