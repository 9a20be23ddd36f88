"""The interface of file formats, and what their readers share.

Readers raise a problem if the file is unreadable, and RowError if a single row is invalid.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from app.errors import FieldError, ValidationFailed

# The members of a task, as its response schema has them.
Task = dict[str, Any]

# Longer than any task.
MAX_ROW_BYTES = 1024 * 1024
BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """An unparsed row, and the number of its first line."""

    line: int
    raw: Any


class Reader(Protocol):
    """Reads one format."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        """Yield the rows of a file, with one in memory at a time."""

    def fields(self, raw: Any, time_zone: str) -> Mapping[str, Any]:
        """Return a row as a request body; ``time_zone`` applies to times without a zone."""


class Writer(Protocol):
    """Writes one format: a header, tasks with separators in between, a footer."""

    header: bytes
    separator: bytes
    footer: bytes

    def write(self, task: Task) -> bytes: ...


class RowError(Exception):
    """A row is invalid."""

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.errors = [field_error(detail, field)]


def field_error(detail: str, field: str = "") -> FieldError:
    """Return an error of a field, or of the whole body."""
    return {"pointer": f"/{field}" if field else "", "detail": detail}


def unreadable(detail: str) -> ValidationFailed:
    """Return the problem of a file that is not in its format."""
    return ValidationFailed([field_error(detail)])


class LineReader:
    """Iterates over the lines of a file, with their ends, and limits the length of a row."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes_left = MAX_ROW_BYTES
        self.number = 0

    def begin_row(self) -> None:
        """Count the next line as the first of a row."""
        self._bytes_left = MAX_ROW_BYTES

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(self._bytes_left + 1):
            self.number += 1
            self._bytes_left -= len(line)
            if self._bytes_left < 0:
                raise unreadable(f"Line {self.number}: a row is longer than {MAX_ROW_BYTES} bytes.")
            yield line.removeprefix(BOM) if self.number == 1 else line


def decode_line(line: bytes | bytearray, number: int) -> str:
    """Decode a line. Raises ValidationFailed if it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise unreadable(f"Line {number} is not UTF-8.") from None


def due_at(
    due: datetime, zone: str | None, default_zone: str, out_of_range: str
) -> dict[str, str | None]:
    """Return ``due_at`` and ``time_zone`` of a due time, which may be naive."""
    if due.tzinfo is None:
        due = due.replace(tzinfo=ZoneInfo(zone or default_zone))
    try:
        utc = due.astimezone(UTC)
    except OverflowError:
        raise RowError(out_of_range, "due_at") from None
    return {"due_at": utc.isoformat(), "time_zone": zone}
