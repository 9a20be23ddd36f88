"""The CSV that Todoist exports a project as.

A note is added to the description of the task above it. Sections, settings and notes on the project
are passed over, and so are indents: the tasks become one list, in their order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain
from typing import IO, Any
from zoneinfo import ZoneInfo

from app.http.fields import time_zones
from app.jobs.formats.csv_file import cells_of, paired
from app.jobs.formats.rows import MOST, Refused, Row, fault, unreadable

MARK = ("TYPE", "CONTENT")
PRIORITIES = {"1": "urgent", "2": "high", "3": "medium", "4": "none", "": "none"}
PASSED_OVER = frozenset({"", "section", "meta", "project_note"})
DAYS = ("%Y-%m-%d", "%b %d %Y", "%d %b %Y", "%B %d %Y", "%d %B %Y")
TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I %p")
UNREADABLE_DATE = (
    "This date can't be read. Dates such as 2030-01-31, Jan 31 2030 or 2030-01-31 09:00 can;"
    " words such as tomorrow, repetitions and dates without a year can't."
)


@dataclass(slots=True)
class Entry:
    """The cells of a task, and the notes below it."""

    header: Sequence[str]
    cells: Sequence[str]
    notes: list[str] = field(default_factory=list)
    length: int = 0

    def add(self, note: str) -> None:
        """Add a note; what is too long already gets no longer."""
        if self.length <= MOST:
            self.notes.append(note)
            self.length += len(note) + 1


class TodoistReader:
    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        found = cells_of(file)
        header = next(found).raw
        if not is_todoist(header) or len(set(header)) < len(header):
            raise unreadable(f"The header does not begin with {','.join(MARK)}.")
        begun: Row | None = None
        for line, cells in found:
            kind = cells[0]
            if kind == "note" and begun is not None:
                begun.raw.add(cells[1] if len(cells) > 1 else "")
            elif kind not in PASSED_OVER and kind != "note":
                if begun is not None:
                    yield begun
                begun = Row(line, Entry(header, cells))
        if begun is not None:
            yield begun

    def fields(self, raw: Entry, time_zone: str) -> Mapping[str, Any]:
        cells = paired(raw.header, raw.cells)
        if cells["TYPE"] != "task":
            raise Refused([fault("TYPE must be task, section, note, project_note or meta.")])
        priority = PRIORITIES.get(cells.get("PRIORITY", ""))
        if priority is None:
            raise Refused([fault("PRIORITY must be 1, 2, 3 or 4.", "priority")])
        texts = chain([cells.get("DESCRIPTION", "")], raw.notes)
        return {
            "title": cells["CONTENT"],
            "description": "\n\n".join(filter(None, texts)) or None,
            "priority": priority,
            **_due(cells, time_zone),
        }


def is_todoist(header: Sequence[str]) -> bool:
    """Tell whether this is the header of Todoist's CSV."""
    return tuple(header[:2]) == MARK


def _due(cells: Mapping[str, str], time_zone: str) -> Mapping[str, Any]:
    text = cells.get("DATE", "").strip() or cells.get("DEADLINE", "").strip()
    if not text:
        return {}
    found = _read(text)
    if found is None:
        raise Refused([fault(UNREADABLE_DATE, "due_date")])
    if not isinstance(found, datetime):
        return {"due_date": found.isoformat()}
    named = cells.get("TIMEZONE", "") or None
    if named is not None and named not in time_zones():
        raise Refused([fault("This time zone is not known.", "time_zone")])
    if found.tzinfo is None:
        found = found.replace(tzinfo=ZoneInfo(named or time_zone))
    try:
        instant = found.astimezone(UTC)
    except OverflowError:
        raise Refused([fault(UNREADABLE_DATE, "due_at")]) from None
    return {"due_at": instant.isoformat(), "time_zone": named}


def _read(text: str) -> date | None:
    """Read a day or a time of day; the language is English, or that of ISO 8601."""
    for day in DAYS:
        for form in (day, *(f"{day} {time}" for time in TIMES)):
            try:
                found = datetime.strptime(text, form)  # noqa: DTZ007  # it names no zone
            except ValueError:
                continue
            return found if form != day else found.date()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if len(text) > len("2030-01-31") else found.date()
