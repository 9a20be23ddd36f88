"""CSV (RFC 4180) with a header of field names. An empty cell means that the field is absent.

Cells are not escaped: a spreadsheet may run one that begins with ``=`` as a formula, but a prefix
would become part of the title when the file is imported again.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from io import StringIO
from typing import IO, Any

from app.jobs.formats.base import LineReader, Row, RowError, Task, require_valid, unreadable
from app.jobs.schemas import COLUMNS, READ_ONLY


def _format_line(cells: Sequence[str]) -> bytes:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


class CsvReader:
    """Reads tasks from CSV; the columns may be fewer and in any order."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        table = read_cells(file)
        header = next(table).raw
        _validate_header(header)
        for line, cells in table:
            yield Row(line, (header, cells))

    def fields(self, raw: tuple[Sequence[str], Sequence[str]], time_zone: str) -> Mapping[str, Any]:
        cells = cells_by_column(*raw)
        return {name: cell for name, cell in cells.items() if cell and name not in READ_ONLY}


class CsvWriter:
    """Writes tasks as CSV with all columns."""

    header = _format_line(COLUMNS)
    separator = footer = b""

    def write(self, task: Task) -> bytes:
        return _format_line([_format_cell(task[name]) for name in COLUMNS])


def read_cells(file: IO[bytes]) -> Iterator[Row]:
    """Yield the cells of each row that is not empty, the header first."""
    lines = LineReader(file)
    reader = csv.reader((require_valid(line, lines.number) for line in lines), strict=True)
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


def _validate_header(names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in COLUMNS]:
        raise unreadable(f"The header has an unknown column: {unknown[0][:100]!r}.")
    if len(set(names)) < len(names):
        raise unreadable("The header has a duplicate column.")
    if "title" not in names:
        raise unreadable("The header has no column title.")


def _format_cell(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    return "" if value is None else str(value)
