"""iCalendar (RFC 5545): one VTODO per task.

Due times are written in UTC. The time zone and the position of a task have no standard property
and are written as ``X-TASK-TIME-ZONE`` and ``X-TASK-POSITION``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import IO, Any
from urllib.parse import urlsplit

from icalendar import Todo
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from app.api.parsing import MAX_DEPTH
from app.clock import time_zones
from app.jobs.formats.base import LineReader, Row, RowError, Task, due_at, require_valid, unreadable
from app.tasks.models import Status

STATUSES = {
    "NEEDS-ACTION": Status.pending,
    "IN-PROCESS": Status.in_progress,
    "COMPLETED": Status.completed,
    "CANCELLED": Status.cancelled,
}
STATUS_NAMES = {status: name for name, status in STATUSES.items()}
# By iCalendar's number: 1 is the highest, 5 is medium, 0 is undefined (RFC 5545, 3.8.1.9).
PRIORITIES = ("none", "urgent", *["high"] * 3, "medium", *["low"] * 4)
PRIORITY_NUMBERS = {"none": 0, "urgent": 1, "high": 3, "medium": 5, "low": 9}
ZONE, POSITION = "X-TASK-TIME-ZONE", "X-TASK-POSITION"
TEXT_FIELDS = {
    "SUMMARY": "title",
    "DESCRIPTION": "description",
    ZONE: "time_zone",
    POSITION: "position",
}
# Other properties are not parsed, so their errors do not matter.
RELEVANT = re.compile(
    rf"(STATUS|PRIORITY|DUE|COMPLETED|PERCENT-COMPLETE|{'|'.join(TEXT_FIELDS)})[;:]", re.IGNORECASE
)
TZID = re.compile(r'DUE((?:;(?!TZID=)[^;:"]*)*);TZID=("[^"]*"|[^;:"]*)', re.IGNORECASE)
# Control characters that text can't contain (RFC 5545, 3.1); line breaks are escaped.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class ICalendarReader:
    """Reads the VTODOs of one or more calendars."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        lines = LineReader(file)
        components: list[str] = []
        todo: Row | None = None
        has_calendar = False
        for number, line in _unfold(lines):
            if todo is None:
                lines.begin_row()
            name, value = _track(components, number, line)
            has_calendar = has_calendar or bool(components)
            if todo is None:
                todo = Row(number, []) if (name, value) == ("BEGIN", "VTODO") else None
            elif "VTODO" not in components:
                yield todo
                todo = None
            elif components[-1] == "VTODO" and RELEVANT.match(line):
                todo.raw.append(line)
        if components or not has_calendar:
            raise unreadable("The file ends before its VCALENDAR does.")

    def fields(self, raw: list[str], time_zone: str) -> Mapping[str, Any]:
        # The library would guess the zone of a due time; _zone() does not.
        zones = [match[2].strip('"') for line in raw if (match := TZID.match(line))]
        properties = _parse_todo([TZID.sub(r"DUE\1", line) for line in raw])
        texts = {
            TEXT_FIELDS[name]: str(properties[name]) for name in TEXT_FIELDS.keys() & properties
        }
        return {
            "description": None,
            "status": _status(properties),
            "priority": _priority(properties),
            **_due(properties, zones, time_zone),
            **texts,
        }


class ICalendarWriter:
    """Writes one calendar."""

    header = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Task API//Export//EN\r\n"
    separator = b""
    footer = b"END:VCALENDAR\r\n"

    def write(self, task: Task) -> bytes:
        updated_at = _parsed(datetime, task["updated_at"])
        properties = {
            "UID": f"task-{task['id']}@{urlsplit(task['url']).hostname}",
            # Without a METHOD, DTSTAMP is the time of the last change (RFC 5545, 3.8.7.2).
            "DTSTAMP": updated_at,
            "CREATED": _parsed(datetime, task["created_at"]),
            "LAST-MODIFIED": updated_at,
            "SUMMARY": _clean_text(task["title"]),
            "DESCRIPTION": _clean_text(task["description"]),
            "STATUS": STATUS_NAMES[task["status"]],
            "PRIORITY": PRIORITY_NUMBERS[task["priority"]],
            "DUE": _parsed(date, task["due_date"]) or _parsed(datetime, task["due_at"]),
            "COMPLETED": _parsed(datetime, task["completed_at"]),
            ZONE: task["time_zone"],
            POSITION: task["position"],
        }
        todo = Todo()
        for name, value in properties.items():
            if value is not None:
                todo.add(name, value)
        content: bytes = todo.to_ical()
        return content


def _track(components: list[str], number: int, line: str) -> tuple[str, str]:
    """Update the open components by a content line; return its name and value in upper case."""
    name, _, value = (part.strip().upper() for part in line.partition(":"))
    if not components and line.strip() and (name, value) != ("BEGIN", "VCALENDAR"):
        raise unreadable(f"Line {number}: this is outside of a VCALENDAR.")
    if name == "BEGIN":
        components.append(value)
        if len(components) > MAX_DEPTH:
            raise unreadable(f"Line {number}: nested more than {MAX_DEPTH} levels deep.")
    elif name == "END" and components.pop() != value:
        raise unreadable(f"Line {number}: END does not match the last BEGIN.")
    return name, value


def _unfold(lines: LineReader) -> Iterator[tuple[int, str]]:
    """Yield content lines, each with the number of its first line (RFC 5545, 3.1)."""
    # A line may be folded within a multi-byte character, so it is checked afterwards.
    parts: list[str] = []
    number = 1
    for line in lines:
        stripped = line.rstrip("\r\n")
        if stripped[:1] in {" ", "\t"} and parts:
            parts.append(stripped[1:])
            continue
        if parts:
            yield number, require_valid("".join(parts), number)
        parts, number = [stripped] if stripped else [], lines.number
    if parts:
        yield number, require_valid("".join(parts), number)


def _parse_todo(lines: Sequence[str]) -> dict[str, Any]:
    try:
        todo = Todo.from_ical("\r\n".join(["BEGIN:VTODO", *lines, "END:VTODO", ""]))
    except ValueError as error:
        raise RowError(f"This VTODO can't be read: {str(error)[:200]}.") from None
    for name, value in todo.items():
        if isinstance(value, list):
            raise RowError(f"{name} appears more than once.")
    return dict(todo)


def _status(properties: Mapping[str, Any]) -> str:
    is_done = "COMPLETED" in properties or properties.get("PERCENT-COMPLETE") == 100
    default = "COMPLETED" if is_done else "NEEDS-ACTION"
    name = str(properties.get("STATUS", default)).upper()
    if name not in STATUSES:
        raise RowError(f"STATUS must be one of: {', '.join(STATUSES)}.", "status")
    return STATUSES[name].value


def _priority(properties: Mapping[str, Any]) -> str:
    number = int(properties.get("PRIORITY", 0))
    if not 0 <= number < len(PRIORITIES):
        raise RowError("PRIORITY must be 0 to 9.", "priority")
    return PRIORITIES[number]


def _due(properties: Mapping[str, Any], zones: Sequence[str], default_zone: str) -> dict[str, Any]:
    if "DUE" not in properties:
        return {}
    due = getattr(properties["DUE"], "dt", None)
    if type(due) is date:
        return {"due_date": due.isoformat()}
    if not isinstance(due, datetime):
        raise RowError("DUE must be a date or a time.", "due_at")
    zone = _zone(zones[0]) if zones else None
    return due_at(due, zone, default_zone, "DUE is out of range.")


def _zone(name: str) -> str:
    """Return the IANA name of a zone, which may have a prefix or be a Windows name."""
    candidates = (name, "/".join(name.split("/")[-2:]), WINDOWS_TO_OLSON.get(name, ""))
    for candidate in candidates:
        if candidate in time_zones():
            return candidate
    raise RowError("This TZID is unknown.", "time_zone")


def _parsed(cls: type[date], value: str | date | None) -> date | None:
    """Return a date or time, which is a string in JSON-ready tasks."""
    return cls.fromisoformat(value) if isinstance(value, str) else value


def _clean_text(text: str | None) -> str | None:
    return text and CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
