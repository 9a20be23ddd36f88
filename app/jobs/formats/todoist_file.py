"""The CSV file of a Todoist project.

Notes are appended to the description of the task above them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from app.jobs.formats.base import (
    MAX_ROW_LENGTH,
    Fields,
    NotRead,
    OpenFile,
    Row,
    RowError,
    RowSkipped,
    due_at,
    paragraphs,
    unreadable,
)
from app.jobs.formats.csv_file import (
    cells_by_column,
    read_cells,
    require_columns,
    used_columns,
)
from app.jobs.formats.zones import require_zone

FIRST_COLUMNS = ("TYPE", "CONTENT")
COLUMNS_NOT_READ = frozenset(
    {
        *("IS_COLLAPSED", "INDENT", "AUTHOR", "RESPONSIBLE", "DATE_LANG"),
        *("DURATION", "DURATION_UNIT", "DEADLINE_LANG", "VIEW_STYLE"),
    }
)
COLUMNS = COLUMNS_NOT_READ | {
    *FIRST_COLUMNS,
    *("DESCRIPTION", "PRIORITY", "DATE", "TIMEZONE", "DEADLINE"),
}
# Of a note only the content is read.
NOTE_COLUMNS_NOT_READ = COLUMNS - {*FIRST_COLUMNS}
PRIORITIES = {"1": "urgent", "2": "high", "3": "medium", "4": "none", "": "none"}
SKIPPED_TYPES = frozenset({"section", "meta", "project_note", "note"})
DATE_FORMATS = ("%Y-%m-%d", "%b %d %Y", "%d %b %Y", "%B %d %Y", "%d %B %Y")
TIME_FORMATS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I %p")
INVALID_DATE = (
    "This date can't be read. Use a date such as 2030-01-31, Jan 31 2030 or 2030-01-31 09:00."
    " Words such as tomorrow, recurring dates and dates without a year are not supported."
)


@dataclass(slots=True)
class RawTask:
    """The cells of a row, and the notes below it."""

    header: Sequence[str]
    cells: Sequence[str]
    notes: list[str] = field(default_factory=list)
    notes_length: int = 0
    not_read: set[str] = field(default_factory=set)

    def add_note(self, cells: Sequence[str]) -> None:
        """Add a note, unless the description is too long already."""
        note = dict(zip(self.header, cells, strict=False))
        self.not_read |= used_columns(note, NOTE_COLUMNS_NOT_READ)
        if self.notes_length <= MAX_ROW_LENGTH:
            self.notes.append(note.get("CONTENT", ""))
            self.notes_length += len(self.notes[-1]) + 1


class TodoistReader:
    """Reads the tasks of a project."""

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        table = read_cells(open_file())
        header = next(table).raw
        if not is_todoist(header):
            raise unreadable(f"The header does not begin with {','.join(FIRST_COLUMNS)}.")
        require_columns(header, COLUMNS)
        task: Row | None = None
        for line, cells in table:
            if cells[0] == "note" and task is not None:
                task.raw.add_note(cells)
            elif any(cells):
                if task is not None:
                    yield task
                row = Row(line, RawTask(header, cells))
                task = None if cells[0] in SKIPPED_TYPES else row
                if task is None:
                    yield row
        if task is not None:
            yield task

    def fields(self, raw: RawTask, time_zone: str) -> Fields:
        if raw.cells[0] in SKIPPED_TYPES:
            raise RowSkipped(raw.cells[0])
        cells = cells_by_column(raw.header, raw.cells)
        if cells["TYPE"] != "task":
            raise RowError("TYPE must be task, section, note, project_note or meta.")
        priority = PRIORITIES.get(cells.get("PRIORITY", ""))
        if priority is None:
            raise RowError("PRIORITY must be 1, 2, 3 or 4.", "priority")
        not_read = used_columns(cells, COLUMNS_NOT_READ) | raw.not_read
        if cells.get("DATE", "").strip():
            not_read |= used_columns(cells, {"DEADLINE"})
        values = {
            "title": cells["CONTENT"],
            "description": paragraphs(cells.get("DESCRIPTION", ""), *raw.notes),
            "priority": priority,
            **_due(cells, time_zone),
        }
        return Fields(values, not_read)


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
    name = cells.get("TIMEZONE", "")
    return due_at(due, require_zone(name) if name else None, default_zone, INVALID_DATE)


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
