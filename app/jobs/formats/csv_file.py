"""CSV (RFC 4180): a header of our names, a row a task, an empty cell for what is not said.

Cells are written as they are. A spreadsheet may take one that begins with ``=`` for a formula; a
sign in front of it would be part of the title when the file is imported again.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from io import StringIO
from typing import IO, Any

from app.http.output import Row as Task
from app.jobs.formats.columns import COLUMNS, SAID, SHOWN_ONLY
from app.jobs.formats.rows import Lines, Refused, Row, fault, unreadable


class CsvReader:
    """Reads what CsvWriter writes, with fewer columns or in another order too."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        found = cells_of(file)
        header = _header(next(found).raw)
        for line, cells in found:
            yield Row(line, (header, cells))

    def fields(self, raw: tuple[Sequence[str], Sequence[str]], time_zone: str) -> Mapping[str, Any]:
        return {
            name: cell for name, cell in paired(*raw).items() if cell and name not in SHOWN_ONLY
        }


class CsvWriter:
    between = end = b""

    def __init__(self) -> None:
        self.begin = _line(COLUMNS)

    def write(self, task: Task) -> bytes:
        return _line([_cell(task[name]) for name in COLUMNS])


def cells_of(file: IO[bytes]) -> Iterator[Row]:
    """Yield the cells of each row that has any, the header first. Raises Unreadable."""
    lines = Lines(file)
    reader = csv.reader(_decoded(lines), strict=True)
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


def paired(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return the cells of a row by their columns. Raises Refused where there are not as many."""
    if len(cells) != len(header):
        told = f"Has {len(cells)} cells, where the header has {len(header)}."
        raise Refused([fault(told)])
    return dict(zip(header, cells, strict=True))


def _decoded(lines: Lines) -> Iterator[str]:
    for line in lines:
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise unreadable(f"Line {lines.number} is not UTF-8.") from None


def _header(names: Sequence[str]) -> Sequence[str]:
    """Return the names of the columns. Raises Unreadable unless each is one of ours, once."""
    if unknown := [name for name in names if name not in SAID | SHOWN_ONLY]:
        raise unreadable(f"The header has an unknown column: {unknown[0][:100]!r}.")
    if len(set(names)) < len(names):
        raise unreadable("The header has a column twice.")
    if "title" not in names:
        raise unreadable("The header has no column title.")
    return names


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value)


def _line(cells: Sequence[str]) -> bytes:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
