"""The interface of file formats, and what their readers share.

Readers raise a problem if the file is unreadable, and RowError if a single row is invalid.
"""

import codecs
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import BufferedReader, RawIOBase, TextIOWrapper
from typing import IO, Any, NamedTuple, Protocol, cast
from zoneinfo import ZoneInfo

from app.errors import FieldError, ValidationFailed

# The members of a task, as its response schema has them.
Task = dict[str, Any]

# Longer than any task.
MAX_ROW_LENGTH = 1024 * 1024


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


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text: UTF-16 with a byte order mark, else UTF-8."""
    is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if is_utf16 else "utf-8-sig"


def open_text(file: IO[bytes]) -> TextIOWrapper:
    """Decode a file, and keep its line ends, of which CR is one too.

    Invalid bytes become lone surrogates, or raise UnicodeDecodeError in UTF-16.
    """
    buffered = BufferedReader(cast("RawIOBase", file))
    encoding = encoding_of(buffered.peek(2))
    errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
    return TextIOWrapper(buffered, encoding, errors, newline="")


class LineReader:
    """Iterates over the lines of a file, with their ends, and limits the length of a row."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = open_text(file)
        self._length_left = MAX_ROW_LENGTH
        self.number = 0

    def begin_row(self) -> None:
        """Count the next line as the first of a row."""
        self._length_left = MAX_ROW_LENGTH

    def __iter__(self) -> Iterator[str]:
        while line := self._read_line():
            self.number += 1
            self._length_left -= len(line)
            if self._length_left < 0:
                raise unreadable(
                    f"Line {self.number}: a row is longer than {MAX_ROW_LENGTH} characters."
                )
            yield line

    def _read_line(self) -> str:
        try:
            return self._file.readline(self._length_left + 1)
        except UnicodeDecodeError:
            raise unreadable(f"Line {self.number + 1} is not UTF-16.") from None


def require_valid(text: str, number: int) -> str:
    """Return the text of line ``number``. Raises ValidationFailed if its bytes are invalid."""
    try:
        return text.encode(errors="surrogateescape").decode()
    except UnicodeError:
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
