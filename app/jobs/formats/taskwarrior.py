"""The JSON that Taskwarrior's command ``task export`` prints.

Annotations are appended to the description. A deleted task and the template of a recurring one
are skipped: its occurrences are tasks of their own.
"""

from collections.abc import Mapping
from typing import Any

from app.jobs.formats.base import RowError, RowSkipped, paragraphs
from app.jobs.formats.json_tool import (
    Item,
    JsonToolReader,
    Outline,
    choice_of,
    due_of,
    text_of,
)
from app.jobs.formats.json_walker import EACH
from app.tasks.models import Status

READ = frozenset({"description", "annotations", "status", "start", "priority", "due"})
NOT_READ = frozenset(
    {
        *("id", "uuid", "entry", "modified", "end", "urgency", "project", "tags", "depends"),
        *("wait", "scheduled", "until", "recur", "rtype", "mask", "imask", "parent"),
    }
)
STATUSES = {
    None: Status.pending,
    "pending": Status.pending,
    "waiting": Status.pending,
    "completed": Status.completed,
    "deleted": "deleted",
    "recurring": "recurring",
}
PRIORITIES = {None: "none", "": "none", "L": "low", "M": "medium", "H": "high"}


def convert(item: Item, time_zone: str) -> Mapping[str, Any]:
    """Return the fields of a task."""
    status = choice_of(item, "status", STATUSES)
    if status not in set(Status):
        raise RowSkipped(f"{status} task")
    if status == Status.pending and item.get("start"):
        status = Status.in_progress
    return {
        **due_of(item, "due", time_zone),
        "title": text_of(item, "description"),
        "description": paragraphs(*_annotations(item)),
        "status": status,
        "priority": choice_of(item, "priority", PRIORITIES),
    }


def _annotations(item: Item) -> list[str | None]:
    annotations = item.get("annotations") or []
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        raise RowError("Must be an array of objects.", "annotations")
    return [text_of(annotation, "description") for annotation in annotations]


def _is_export(outline: Outline) -> bool:
    names = set(outline.names)
    return outline.is_array and {"description", "uuid"} <= names and "title" not in names


READER = JsonToolReader(_is_export, lambda _: (EACH,), READ, NOT_READ, convert)
