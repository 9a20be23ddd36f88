"""Google Tasks: the file Tasks.json of Google Takeout, or a response of its API.

A due date is a day: Google drops the time. Deleted tasks are skipped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.jobs.formats.base import RowSkipped
from app.jobs.formats.json_tool import (
    Item,
    JsonToolReader,
    Outline,
    choice_of,
    text_of,
    time_of,
)
from app.jobs.formats.json_walker import EACH
from app.tasks.models import Status

READ = frozenset({"title", "notes", "status", "due", "deleted"})
NOT_READ = frozenset(
    {
        *("id", "kind", "etag", "selfLink", "webViewLink", "created", "updated", "completed"),
        *("parent", "position", "hidden", "links", "task_type", "starred", "assignmentInfo"),
        *("scheduled_time", "task_recurrence_id", "recurrence"),
    }
)
STATUSES = {
    None: Status.pending,
    "needsAction": Status.pending,
    "completed": Status.completed,
}


def convert(item: Item, _time_zone: str) -> Mapping[str, Any]:
    """Return the fields of a task."""
    if item.get("deleted"):
        raise RowSkipped("deleted task")
    due = time_of(item, "due")
    return {
        "title": text_of(item, "title"),
        "description": text_of(item, "notes") or None,
        "status": choice_of(item, "status", STATUSES),
        "due_date": due.date().isoformat() if due else None,
    }


def _is_export(outline: Outline) -> bool:
    return '"tasks#task' in outline.text and "items" in outline.names


def _path(outline: Outline) -> Sequence[str]:
    has_lists = '"tasks#taskLists"' in outline.text or outline.names.count("items") > 1
    return ("items", EACH, "items", EACH) if has_lists else ("items", EACH)


READER = JsonToolReader(_is_export, _path, READ, NOT_READ, convert)
