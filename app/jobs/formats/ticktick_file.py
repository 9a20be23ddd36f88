"""The CSV file of a TickTick backup: lines about the file, a header, and tasks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from app.jobs.formats.base import (
    Fields,
    NotRead,
    OpenFile,
    Row,
    RowError,
    RowSkipped,
    due_at,
    to_zone,
    unreadable,
)
from app.jobs.formats.csv_file import (
    RawCells,
    cells_by_column,
    read_cells,
    require_columns,
    used_columns,
)
from app.jobs.formats.zones import require_zone
from app.tasks.models import Status

HEADER_COLUMNS = frozenset({"List Name", "Title"})
# The header is one of the first rows.
MAX_HEADER_ROWS = 20
COLUMNS_NOT_READ = frozenset(
    {
        *("Folder Name", "List Name", "Tags", "Is Check list", "Start Date", "Reminder", "Repeat"),
        *("Created Time", "Completed Time", "Order", "Is Floating"),
        *("Column Name", "Column Order", "View Mode", "taskId", "parentId"),
    }
)
COLUMNS = COLUMNS_NOT_READ | {
    *("Title", "Kind", "Content", "Due Date", "Priority", "Status", "Timezone", "Is All Day")
}
PRIORITIES = {"": "none", "0": "none", "1": "low", "3": "medium", "5": "high"}
# 2 is archived: completed, and not shown any more. -1 is "won't do".
STATUSES = {
    "": Status.pending,
    "0": Status.pending,
    "1": Status.completed,
    "2": Status.completed,
    "-1": Status.cancelled,
}
INVALID_DATE = "Due Date must be a time with an offset, such as 2030-01-30T23:00:00+0000."


class TickTickReader:
    """Reads the tasks of a backup."""

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        table = read_cells(open_file())
        for _, cells in islice(table, MAX_HEADER_ROWS):
            if is_ticktick(cells):
                break
        else:
            raise unreadable("The file has no header with the columns List Name and Title.")
        require_columns(cells, COLUMNS)
        for row in table:
            yield Row(row.line, (cells, row.raw))

    def fields(self, raw: RawCells, time_zone: str) -> Fields:
        cells = cells_by_column(*raw)
        if cells.get("Kind") == "NOTE":
            raise RowSkipped("note")
        values = {
            "title": cells["Title"],
            "description": cells.get("Content") or None,
            "priority": _choice(cells, "Priority", PRIORITIES),
            "status": _choice(cells, "Status", STATUSES),
            **_due(cells, time_zone),
        }
        return Fields(values, used_columns(cells, COLUMNS_NOT_READ))


def is_ticktick(header: Sequence[str]) -> bool:
    """Return whether this is the header of a TickTick file."""
    return HEADER_COLUMNS.issubset(header)


def _choice(cells: Mapping[str, str], name: str, choices: Mapping[str, str]) -> str:
    choice = choices.get(cells.get(name, "").strip())
    if choice is None:
        options = ", ".join(filter(None, choices))
        raise RowError(f"{name} must be one of: {options}.", name.lower())
    return choice


def _due(cells: Mapping[str, str], default_zone: str) -> Mapping[str, Any]:
    text, name = cells.get("Due Date", "").strip(), cells.get("Timezone", "").strip()
    if not text:
        return {}
    try:
        due = datetime.fromisoformat(text)
    except ValueError:
        raise RowError(INVALID_DATE, "due_at") from None
    zone = require_zone(name) if name else None
    if cells.get("Is All Day", "").lower() != "true":
        return due_at(due, zone, default_zone, INVALID_DATE)
    # The start of the day, in the zone of the task.
    local = ZoneInfo(zone or default_zone)
    day = due if due.tzinfo is None else to_zone(due, local, INVALID_DATE)
    return {"due_date": day.date().isoformat()}
