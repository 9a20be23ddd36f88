"""iCalendar (RFC 5545): a VTODO a task.

A due time goes out in UTC. What iCalendar has no property for, the time zone beside it and the
place in the list, goes out in two of our own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import IO, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from icalendar import Todo
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from app.http.body import DEEPEST
from app.http.fields import time_zones
from app.http.output import Row as Task
from app.jobs.formats.rows import Lines, Refused, Row, fault, unreadable
from app.tasks.models import Priority, Status

STATUSES = {
    "NEEDS-ACTION": Status.pending,
    "IN-PROCESS": Status.in_progress,
    "COMPLETED": Status.completed,
    "CANCELLED": Status.cancelled,
}
WRITTEN_STATUSES = {status: word for word, status in STATUSES.items()}
# Of 1 to 9, 1 is the highest; 5 is medium (RFC 5545, 3.8.1.9).
PRIORITIES = (
    Priority.none,
    Priority.urgent,
    *[Priority.high] * 3,
    Priority.medium,
    *[Priority.low] * 4,
)
WRITTEN_PRIORITIES = {"none": 0, "urgent": 1, "high": 3, "medium": 5, "low": 9}
ZONE, PLACE = "X-TASK-TIME-ZONE", "X-TASK-POSITION"
# The rest of a VTODO is not looked at, so nothing that is wrong there matters.
READ = re.compile(
    rf"(SUMMARY|DESCRIPTION|STATUS|PRIORITY|DUE|COMPLETED|{ZONE}|{PLACE})[;:]", re.IGNORECASE
)
TZID = re.compile(r'DUE((?:;(?!TZID=)[^;:"]*)*);TZID=("[^"]*"|[^;:"]*)', re.IGNORECASE)
# What iCalendar's text can't hold (RFC 5545, 3.1), but for line breaks.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class ICalendarReader:
    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        lines = Lines(file)
        calendar = _Calendar()
        for number, line in _unfolded(lines):
            if calendar.todo is None:
                lines.begin_row()
            if (todo := calendar.take(number, line)) is not None:
                yield todo
        if calendar.open or not calendar.found:
            raise unreadable("The file ends before its VCALENDAR does.")

    def fields(self, raw: list[str], time_zone: str) -> Mapping[str, Any]:
        # The library would look the zone of a due time up by itself, and guess.
        zones = [found[2].strip('"') for line in raw if (found := TZID.match(line))]
        lines = (TZID.sub(r"DUE\1", line) for line in raw)
        try:
            todo = Todo.from_ical("\r\n".join(["BEGIN:VTODO", *lines, "END:VTODO", ""]))
        except ValueError as error:
            raise Refused([fault(f"This VTODO can't be read: {str(error)[:200]}.")]) from None
        said: dict[str, Any] = {}
        for name, value in todo.items():
            if isinstance(value, list):
                raise Refused([fault(f"{name} stands twice.")])
            said[name] = value
        return {
            **({"title": str(said["SUMMARY"])} if "SUMMARY" in said else {}),
            "description": str(said["DESCRIPTION"]) if "DESCRIPTION" in said else None,
            "status": _status(said),
            "priority": _priority(said),
            **_due(said, zones, time_zone),
            **({"time_zone": str(said[ZONE])} if ZONE in said else {}),
            **({"position": str(said[PLACE])} if PLACE in said else {}),
        }


class ICalendarWriter:
    begin = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Task API//Export//EN\r\n"
    between = b""
    end = b"END:VCALENDAR\r\n"

    def write(self, task: Task) -> bytes:
        todo = Todo()
        todo.add("UID", f"task-{task['id']}@{urlsplit(task['url']).hostname}")
        # Without a METHOD it tells when this was changed last (RFC 5545, 3.8.7.2).
        todo.add("DTSTAMP", _instant(task["updated_at"]))
        todo.add("CREATED", _instant(task["created_at"]))
        todo.add("LAST-MODIFIED", _instant(task["updated_at"]))
        todo.add("SUMMARY", _text(task["title"]))
        if task["description"] is not None:
            todo.add("DESCRIPTION", _text(task["description"]))
        todo.add("STATUS", WRITTEN_STATUSES[task["status"]])
        todo.add("PRIORITY", WRITTEN_PRIORITIES[task["priority"]])
        if task["due_date"] is not None:
            todo.add("DUE", _day(task["due_date"]))
        elif task["due_at"] is not None:
            todo.add("DUE", _instant(task["due_at"]))
        if task["completed_at"] is not None:
            todo.add("COMPLETED", _instant(task["completed_at"]))
        if task["time_zone"] is not None:
            todo.add(ZONE, task["time_zone"])
        todo.add(PLACE, task["position"])
        written: bytes = todo.to_ical()
        return written


class _Calendar:
    """Which components are open, and of the VTODO among them what is read."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.todo: Row | None = None
        self.found = False

    def take(self, number: int, line: str) -> Row | None:
        """Take one content line; return the VTODO that it ends. Raises Unreadable."""
        name, _, value = (part.strip().upper() for part in line.partition(":"))
        if not self.open and (name, value) != ("BEGIN", "VCALENDAR"):
            if line.strip():
                raise unreadable(f"Line {number}: this is not within a VCALENDAR.")
        elif name == "BEGIN":
            self._begin(number, value)
        elif name == "END":
            return self._end(number, value)
        elif self.todo is not None and self.open[-1] == "VTODO" and READ.match(line):
            self.todo.raw.append(line)
        return None

    def _begin(self, number: int, component: str) -> None:
        self.found = True
        self.open.append(component)
        if len(self.open) > DEEPEST:
            raise unreadable(f"Line {number}: nested more than {DEEPEST} deep.")
        if self.todo is None and component == "VTODO":
            self.todo = Row(number, [])

    def _end(self, number: int, component: str) -> Row | None:
        if component != self.open.pop():
            raise unreadable(f"Line {number}: this ends what was not begun.")
        if "VTODO" in self.open:
            return None
        ended, self.todo = self.todo, None
        return ended


def _unfolded(lines: Lines) -> Iterator[tuple[int, str]]:
    """Yield content lines, each with the number of its first line (RFC 5545, 3.1)."""
    # A character may be folded in its middle, so what is read first are bytes.
    held, number = bytearray(), 1
    for line in lines:
        stripped = line.rstrip(b"\r\n")
        if stripped[:1] in {b" ", b"\t"} and held:
            held += stripped[1:]
            continue
        if held:
            yield number, _decoded(held, number)
        held, number = bytearray(stripped), lines.number
    if held:
        yield number, _decoded(held, number)


def _decoded(line: bytearray, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise unreadable(f"Line {number} is not UTF-8.") from None


def _status(said: Mapping[str, Any]) -> str:
    word = str(said.get("STATUS", "COMPLETED" if "COMPLETED" in said else "NEEDS-ACTION")).upper()
    if word not in STATUSES:
        raise Refused([fault(f"STATUS must be one of: {', '.join(STATUSES)}.", "status")])
    return STATUSES[word].value


def _priority(said: Mapping[str, Any]) -> str:
    rank = int(said.get("PRIORITY", 0))
    if not 0 <= rank < len(PRIORITIES):
        raise Refused([fault("PRIORITY must be 0 to 9.", "priority")])
    return PRIORITIES[rank].name


def _due(said: Mapping[str, Any], zones: Sequence[str], time_zone: str) -> Mapping[str, Any]:
    """Return a due day or time; a time that names no zone is one of the owner's clock."""
    if "DUE" not in said:
        return {}
    due = getattr(said["DUE"], "dt", None)
    if type(due) is date:
        return {"due_date": due.isoformat()}
    if not isinstance(due, datetime):
        raise Refused([fault("DUE must be a date or a time.", "due_at")])
    named = _zone(zones[0]) if zones else None
    if due.tzinfo is None:
        due = due.replace(tzinfo=ZoneInfo(named or time_zone))
    try:
        instant = due.astimezone(UTC)
    except OverflowError:
        raise Refused([fault("DUE is beyond the calendar.", "due_at")]) from None
    return {"due_at": instant.isoformat(), "time_zone": named}


def _zone(named: str) -> str:
    """Return the IANA name of a zone, which may stand behind a path or be one of Windows'."""
    parts = named.split("/")
    for name in (named, "/".join(parts[-2:]), WINDOWS_TO_OLSON.get(named, "")):
        if name in time_zones():
            return name
    raise Refused([fault("This TZID is not known.", "time_zone")])


def _instant(told: str | datetime) -> datetime:
    """Return an instant, which a list may have as JSON tells it."""
    return datetime.fromisoformat(told) if isinstance(told, str) else told


def _day(told: str | date) -> date:
    return date.fromisoformat(told) if isinstance(told, str) else told


def _text(text: str) -> str:
    return CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
