"""The CSV file of a Todoist project.

Notes are appended to the description of the task above them. Sections, settings, notes on the
project and indents are ignored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import IO, Any

from app.clock import time_zones
from app.jobs.formats.base import MAX_ROW_LENGTH, Row, RowError, due_at, unreadable
from app.jobs.formats.csv_file import cells_by_column, read_cells

FIRST_COLUMNS = ("TYPE", "CONTENT")
PRIORITIES = {"1": "urgent", "2": "high", "3": "medium", "4": "none", "": "none"}
IGNORED_TYPES = frozenset({"", "section", "meta", "project_note"})
DATE_FORMATS = ("%Y-%m-%d", "%b %d %Y", "%d %b %Y", "%B %d %Y", "%d %B %Y")
TIME_FORMATS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I %p")
INVALID_DATE = (
    "This date can't be read. Use a date such as 2030-01-31, Jan 31 2030 or 2030-01-31 09:00."
    " Words such as tomorrow, recurring dates and dates without a year are not supported."
)


@dataclass(slots=True)
class RawTask:
    """The cells of a task, and the notes below it."""

    header: Sequence[str]
    cells: Sequence[str]
    notes: list[str] = field(default_factory=list)
    notes_length: int = 0

    def add_note(self, note: str) -> None:
        """Add a note, unless the description is too long already."""
        if self.notes_length <= MAX_ROW_LENGTH:
            self.notes.append(note)
            self.notes_length += len(note) + 1


class TodoistReader:
    """Reads the tasks of a project."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        table = read_cells(file)
        header = next(table).raw
        if not is_todoist(header) or len(set(header)) < len(header):
            raise unreadable(f"The header does not begin with {','.join(FIRST_COLUMNS)}.")
        current: Row | None = None
        for line, cells in table:
            row_type = cells[0]
            if row_type in IGNORED_TYPES:
                continue
            if row_type != "note":
                if current is not None:
                    yield current
                current = Row(line, RawTask(header, cells))
            elif current is not None:
                current.raw.add_note(cells[1] if len(cells) > 1 else "")
        if current is not None:
            yield current

    def fields(self, raw: RawTask, time_zone: str) -> Mapping[str, Any]:
        cells = cells_by_column(raw.header, raw.cells)
        if cells["TYPE"] != "task":
            raise RowError("TYPE must be task, section, note, project_note or meta.")
        priority = PRIORITIES.get(cells.get("PRIORITY", ""))
        if priority is None:
            raise RowError("PRIORITY must be 1, 2, 3 or 4.", "priority")
        paragraphs = [cells.get("DESCRIPTION", ""), *raw.notes]
        return {
            "title": cells["CONTENT"],
            "description": "\n\n".join(filter(None, paragraphs)) or None,
            "priority": priority,
            **_due(cells, time_zone),
        }


def is_todoist(header: Sequence[str]) -> bool:
    """Return whether this is the header of a Todoist file."""
    return tuple(header[:2]) == FIRST_COLUMNS


def _due(cells: Mapping[str, str], default_zone: str) -> Mapping[str, Any]:
    text = cells.get("DATE", "").strip() or cells.get("DEADLINE", "").strip()
    if not text:
        return {}
    due = _parse_date(text)
    if due is None:
        raise RowError(INVALID_DATE, "due_date")
    if not isinstance(due, datetime):
        return {"due_date": due.isoformat()}
    zone = cells.get("TIMEZONE", "") or None
    if zone is not None and zone not in time_zones():
        raise RowError("This time zone is unknown.", "time_zone")
    return due_at(due, zone, default_zone, INVALID_DATE)


def _parse_date(text: str) -> date | None:
    """Parse an English or ISO 8601 date or time."""
    for date_format in DATE_FORMATS:
        for form in (date_format, *(f"{date_format} {time}" for time in TIME_FORMATS)):
            try:
                due = datetime.strptime(text, form)  # noqa: DTZ007  # _due() adds the zone
            except ValueError:
                continue
            return due.date() if form == date_format else due
    try:
        due = datetime.fromisoformat(text)
    except ValueError:
        return None
    return due if len(text) > len("2030-01-31") else due.date()
