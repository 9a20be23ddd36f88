"""The file data.json of a Vikunja export: projects with their tasks."""

from collections.abc import Mapping
from typing import Any

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

READ = frozenset({"title", "description", "done", "due_date", "priority"})
NOT_READ = frozenset(
    {
        *("id", "identifier", "index", "project_id", "bucket_id", "buckets", "position"),
        *("kanban_position", "start_date", "end_date", "done_at", "created", "updated"),
        *("created_by", "reminders", "reminder_dates", "repeat_after", "repeat_mode"),
        *("assignees", "labels", "hex_color", "percent_done", "related_tasks", "attachments"),
        *("cover_image_attachment_id", "is_favorite", "is_unread", "subscription", "reactions"),
        *("comments", "comment_count"),
    }
)
# Vikunja's 5 is "do now".
PRIORITIES = {
    None: "none",
    0: "none",
    1: "low",
    2: "medium",
    3: "high",
    4: "urgent",
    5: "urgent",
}


def convert(item: Item, time_zone: str) -> Mapping[str, Any]:
    """Return the fields of a task."""
    return {
        **due_of(item, "due_date", time_zone),
        "title": text_of(item, "title"),
        "description": text_of(item, "description") or None,
        "status": Status.completed if item.get("done") else Status.pending,
        "priority": choice_of(item, "priority", PRIORITIES),
    }


def _is_export(outline: Outline) -> bool:
    return outline.is_array and "tasks" in outline.names


READER = JsonToolReader(_is_export, lambda _: (EACH, "tasks", EACH), READ, NOT_READ, convert)
