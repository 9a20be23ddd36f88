"""iCalendar (RFC 5545): one VTODO per task.

Due times are written in UTC. The time zone and the position of a task have no standard property
and are written as ``X-TASK-TIME-ZONE`` and ``X-TASK-POSITION``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, tzinfo
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from icalendar import Todo
from icalendar.parser import Contentline

from app.jobs.formats.base import (
    MAX_ROW_LENGTH,
    Fields,
    NotRead,
    OpenFile,
    Row,
    RowError,
    RowSkipped,
    Task,
    due_at,
    to_zone,
    unreadable,
)
from app.jobs.formats.icalendar_lines import Component, name_of, read_components
from app.jobs.formats.vtimezone import parse_zone
from app.jobs.formats.zones import iana_name, require_zone
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
READ = TEXT_FIELDS.keys() | {"STATUS", "PRIORITY", "DUE", "COMPLETED", "PERCENT-COMPLETE"}
TIMES = frozenset({"DUE", "COMPLETED"})
OUT_OF_RANGE = "DUE is out of range."
# Control characters that text can't contain (RFC 5545, 3.1); line breaks are escaped.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


# The content lines of VTIMEZONEs, by the number of the calendar and TZID.
Zones = Mapping[tuple[int, str], tuple[str, ...]]


class RawTodo(NamedTuple):
    """A component, and the zones of its file."""

    component: Component
    zones: Zones


class ICalendarReader:
    """Reads the VTODOs of one or more calendars; other components are skipped."""

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        # A VTIMEZONE may come after the tasks that use it.
        zones = _read_zones(open_file())
        for component in read_components(open_file(), _is_read, outside):
            if component.name != "VTIMEZONE":
                yield Row(component.line, RawTodo(component, zones))

    def fields(self, raw: RawTodo, time_zone: str) -> Fields:
        component = raw.component
        if component.name != "VTODO":
            raise RowSkipped(component.name)
        lines, zone_names = _split_zones(component.lines)
        properties = _parse_todo(lines)
        texts = {
            TEXT_FIELDS[name]: str(properties[name]) for name in TEXT_FIELDS.keys() & properties
        }
        zone = _find_zone(raw, zone_names[0]) if zone_names else None
        values = {
            "description": None,
            "status": _status(properties),
            "priority": _priority(properties),
            **_due(properties, zone, time_zone),
            **texts,
        }
        return Fields(values, component.not_read | _lost(properties))


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


class Zone(NamedTuple):
    """The zone of a due time: its IANA name, and how the calendar defines it."""

    name: str | None
    definition: tzinfo | None


def _is_read(component: str, level: int, name: str) -> bool:
    return component == "VTODO" and level == 1 and name in READ


def _read_zones(file: IO[bytes]) -> Zones:
    zones: dict[tuple[int, str], tuple[str, ...]] = {}
    # Many calendars in one file define the same zones.
    definitions: dict[tuple[str, ...], tuple[str, ...]] = {}
    length = 0
    for component in read_components(file, lambda name, *_: name == "VTIMEZONE", NotRead()):
        lines = tuple(component.lines)
        if component.name == "VTIMEZONE" and lines not in definitions:
            definitions[lines] = lines
            length += component.length
            if length > MAX_ROW_LENGTH:
                raise unreadable(f"Line {component.line}: there are too many VTIMEZONEs.")
        if (name := _zone_id(lines)) is not None:
            zones[component.calendar, name] = definitions[lines]
    return zones


def _zone_id(lines: Sequence[str]) -> str | None:
    """Return the TZID of a VTIMEZONE, or None if it has none or an invalid one."""
    with suppress(RowError):
        return next((_parts(line)[2] for line in lines if name_of(line) == "TZID"), None)
    return None


def _parts(line: str) -> tuple[str, Any, str]:
    """Return the name, the parameters and the value of a content line. Raises RowError."""
    try:
        name, parameters, value = Contentline(line).parts()
    except ValueError as error:
        raise _invalid(error) from None
    return name, parameters, value


def _split_zones(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the lines without TZID, and that of DUE: the library would guess unknown zones."""
    rest, names = [], []
    for line in lines:
        if (property_name := name_of(line)) not in TIMES:
            rest.append(line)
            continue
        name, parameters, value = _parts(line)
        zone = parameters.pop("TZID", None)
        rest.append(str(Contentline.from_parts(name, parameters, value)))
        if zone is not None and not isinstance(zone, str):
            raise RowError(f"{property_name} has more than one TZID.", "time_zone")
        names += [zone] if zone is not None and property_name == "DUE" else []
    return rest, names


def _find_zone(raw: RawTodo, name: str) -> Zone:
    definition = raw.zones.get((raw.component.calendar, name))
    if definition is None:
        return Zone(require_zone(name), None)
    return Zone(iana_name(name), parse_zone(definition))


def _parse_todo(lines: Sequence[str]) -> dict[str, Any]:
    try:
        todo = Todo.from_ical("\r\n".join(["BEGIN:VTODO", *lines, "END:VTODO", ""]))
    except ValueError as error:
        raise _invalid(error) from None
    for name, value in todo.items():
        if isinstance(value, list):
            raise RowError(f"{name} appears more than once.")
    return dict(todo)


def _invalid(error: ValueError) -> RowError:
    return RowError(f"This VTODO can't be read: {str(error)[:200]}.")


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


def _lost(properties: Mapping[str, Any]) -> set[str]:
    """Return the properties of which only the meaning for the status is read."""
    lost = properties.keys() & {"COMPLETED"}
    if properties.get("PERCENT-COMPLETE", 0) not in {0, 100}:
        lost.add("PERCENT-COMPLETE")
    return lost


def _due(properties: Mapping[str, Any], zone: Zone | None, default_zone: str) -> dict[str, Any]:
    if "DUE" not in properties:
        return {}
    due = getattr(properties["DUE"], "dt", None)
    if type(due) is date:
        return {"due_date": due.isoformat()}
    if not isinstance(due, datetime):
        raise RowError("DUE must be a date or a time.", "due_at")
    if zone is None or zone.definition is None or due.tzinfo is not None:
        return due_at(due, zone and zone.name, default_zone, OUT_OF_RANGE)
    utc = to_zone(due.replace(tzinfo=zone.definition), UTC, OUT_OF_RANGE)
    is_same = zone.name is not None and utc == due.replace(tzinfo=ZoneInfo(zone.name))
    return {"due_at": utc.isoformat(), "time_zone": zone.name if is_same else None}


def _parsed(cls: type[date], value: str | date | None) -> date | None:
    """Return a date or time, which is a string in JSON-ready tasks."""
    return cls.fromisoformat(value) if isinstance(value, str) else value


def _clean_text(text: str | None) -> str | None:
    return text and CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
