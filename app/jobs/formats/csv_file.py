"""CSV (RFC 4180) with a header of field names. An empty cell means that the field is absent.

Cells are not escaped: a spreadsheet may run one that begins with ``=`` as a formula, but a prefix
would become part of the title when the file is imported again.
"""

import csv
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from io import StringIO
from typing import IO, Any

from app.jobs.formats.base import (
    Fields,
    LineReader,
    NotRead,
    OpenFile,
    Row,
    RowError,
    Task,
    unreadable,
)
from app.jobs.schemas import COLUMNS, READ_ONLY

# Cells of other tools that stand for no value.
UNUSED_CELLS = frozenset({"", "0", "N", "None", "false"})
# The names of the columns, and the cells of a row.
RawCells = tuple[Sequence[str], Sequence[str]]


def _format_line(cells: Sequence[str]) -> bytes:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


class CsvReader:
    """Reads tasks from CSV; the columns may be fewer and in any order."""

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        table = read_cells(open_file())
        header = next(table).raw
        require_columns(header, COLUMNS, "title")
        for line, cells in table:
            yield Row(line, (header, cells))

    def fields(self, raw: RawCells, time_zone: str) -> Fields:
        cells = {name: cell for name, cell in cells_by_column(*raw).items() if cell}
        values = {name: cell for name, cell in cells.items() if name not in READ_ONLY}
        return Fields(values, cells.keys() & READ_ONLY)


class CsvWriter:
    """Writes tasks as CSV with all columns."""

    header = _format_line(COLUMNS)
    separator = footer = b""

    def write(self, task: Task) -> bytes:
        return _format_line([_format_cell(task[name]) for name in COLUMNS])


def read_cells(file: IO[bytes]) -> Iterator[Row]:
    """Yield the cells of each row that is not empty, the header first."""
    lines = LineReader(file)
    reader = csv.reader(lines, strict=True)
    is_empty = True
    while True:
        lines.begin_row()
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise unreadable(f"Line {reader.line_num}: {error}.") from None
        if cells:
            is_empty = False
            yield Row(line, cells)
    if is_empty:
        raise unreadable("The file is empty.")


def cells_by_column(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return the cells of a row by column name. Raises RowError if their number is wrong."""
    if len(cells) != len(header):
        raise RowError(f"The row has {len(cells)} cells, but the header has {len(header)}.")
    return dict(zip(header, cells, strict=True))


def used_columns(cells: dict[str, str], columns: Collection[str]) -> set[str]:
    """Return which of these columns a row uses."""
    return {name for name in cells.keys() & columns if cells[name].strip() not in UNUSED_CELLS}


def require_columns(names: Sequence[str], known: Collection[str], *required: str) -> None:
    """Raise ValidationFailed for a header with unknown, duplicate or missing columns."""
    if unknown := [name for name in names if name not in known]:
        raise unreadable(f"The header has an unknown column: {unknown[0][:100]!r}.")
    if len(set(names)) < len(names):
        raise unreadable("The header has a duplicate column.")
    if missing := [name for name in required if name not in names]:
        raise unreadable(f"The header has no column {missing[0]}.")


def _format_cell(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    return "" if value is None else str(value)
