"""The interface of file formats, and what their readers share.

Readers raise a problem if the file is unreadable, RowError if a single row is invalid, and
RowSkipped if a row is not a task.
"""

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from io import BufferedReader, RawIOBase, TextIOWrapper
from typing import IO, Any, NamedTuple, Protocol, cast
from zoneinfo import ZoneInfo

from app.api.parsing import UNKNOWN_FIELD, pointer_to, printable
from app.errors import FieldError, ValidationFailed

# The members of a task, as its response schema has them.
Task = dict[str, Any]
# Opens a file at its start; some formats are read twice.
OpenFile = Callable[[], IO[bytes]]

# Longer than any task.
MAX_ROW_LENGTH = 1024 * 1024
# Limits of the names in ``NotRead``. Further names are counted together.
MAX_NAMES = 200
MAX_NAME_LENGTH = 100
OTHER_NAMES = "(others)"

UTF_8, UTF_16 = "utf-8-sig", "utf-16"
ENCODING_NAMES = {UTF_8: "UTF-8", UTF_16: "UTF-16"}


class Row(NamedTuple):
    """An unparsed row, and the number of its first line."""

    line: int
    raw: Any


class Fields(NamedTuple):
    """A row as a request body, and the names of what it has beyond that."""

    values: Mapping[str, Any]
    not_read: Collection[str] = ()


class NotRead(dict[str, int]):
    """Names of what is not imported, such as columns, and how many rows have it."""

    def add(self, names: Iterable[str], count: int = 1) -> None:
        """Count rows that have these names."""
        for name in names:
            key = printable(name)[:MAX_NAME_LENGTH]
            if key not in self and len(self) >= MAX_NAMES:
                key = OTHER_NAMES
            self[key] = self.get(key, 0) + count

    def merge(self, other: Mapping[str, int]) -> None:
        """Add the counts of others."""
        for name, count in other.items():
            self.add([name], count)


class Reader(Protocol):
    """Reads one format."""

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        """Yield the rows of a file, with one in memory at a time.

        ``outside`` receives the names of what is not read and belongs to no row.
        """

    def fields(self, raw: Any, time_zone: str) -> Fields:
        """Return the fields of a row; ``time_zone`` applies to times without a zone."""


class Writer(Protocol):
    """Writes one format: a header, tasks with separators in between, a footer."""

    header: bytes
    separator: bytes
    footer: bytes

    def write(self, task: Task) -> bytes: ...


class RowError(Exception):
    """A row is invalid: as a whole, or some of its fields."""

    def __init__(self, detail: str, *fields: str) -> None:
        super().__init__(detail)
        self.errors = [field_error(detail, field) for field in fields or [""]]


class RowSkipped(Exception):
    """A row is not a task, but for example a section or an event."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = printable(kind)[:MAX_NAME_LENGTH]


def field_error(detail: str, field: str = "") -> FieldError:
    """Return an error of a field, or of the whole body."""
    return {"pointer": pointer_to(field) if field else "", "detail": detail}


def unreadable(detail: str) -> ValidationFailed:
    """Return the problem of a file that is not in its format."""
    return ValidationFailed([field_error(detail)])


def require_known(names: Iterable[str], known: Collection[str]) -> None:
    """Raise RowError if a row has members that its format does not have."""
    if unknown := [name for name in names if name not in known]:
        raise RowError(UNKNOWN_FIELD, *unknown)


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text: UTF-16 with a byte order mark, else UTF-8."""
    is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return UTF_16 if is_utf16 else UTF_8


def open_text(file: IO[bytes], newline: str | None = "") -> TextIOWrapper:
    """Decode a file, and keep its line ends, of which CR is one too.

    Invalid bytes become lone surrogates, or raise UnicodeDecodeError in UTF-16.
    """
    buffered = BufferedReader(cast("RawIOBase", file))
    encoding = encoding_of(buffered.peek(2))
    errors = "surrogatepass" if encoding == UTF_16 else "surrogateescape"
    return TextIOWrapper(buffered, encoding, errors, newline)


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
        while line := read_line(self._file, self._length_left + 1, self.number + 1):
            self.number += 1
            self._length_left -= len(line)
            if self._length_left < 0:
                raise row_too_long(self.number)
            yield require_valid(line, self._file.encoding, self.number)


def row_too_long(number: int) -> ValidationFailed:
    """Return the problem of a row that line ``number`` makes too long."""
    return unreadable(f"Line {number}: a row is longer than {MAX_ROW_LENGTH} characters.")


def read_line(file: TextIOWrapper, limit: int, number: int) -> str:
    """Read line ``number``, or ``limit`` characters of it. Raises ValidationFailed."""
    try:
        return file.readline(limit)
    except UnicodeDecodeError:
        raise not_in_encoding(UTF_16, number) from None


def require_valid(text: str, encoding: str, number: int) -> str:
    """Return the text of line ``number``. Raises ValidationFailed if its bytes are invalid."""
    try:
        if encoding == UTF_16:
            text.encode()
            return text
        return text.encode(errors="surrogateescape").decode()
    except UnicodeError:
        raise not_in_encoding(encoding, number) from None


def not_in_encoding(encoding: str, number: int) -> ValidationFailed:
    """Return the problem of invalid bytes in line ``number``."""
    return unreadable(f"Line {number} is not {ENCODING_NAMES[encoding]}.")


def due_at(
    due: datetime, zone: str | None, default_zone: str, out_of_range: str
) -> dict[str, str | None]:
    """Return ``due_at`` and ``time_zone`` of a due time, which may be naive."""
    if due.tzinfo is None:
        due = due.replace(tzinfo=ZoneInfo(zone or default_zone))
    return {"due_at": to_zone(due, UTC, out_of_range).isoformat(), "time_zone": zone}


def to_zone(due: datetime, zone: tzinfo, out_of_range: str) -> datetime:
    """Return an aware due time in a zone. Raises RowError if no datetime can express it."""
    try:
        return due.astimezone(zone)
    except OverflowError:
        raise RowError(out_of_range, "due_at") from None


def paragraphs(*texts: str | None) -> str | None:
    """Join the texts that are not empty, to a description."""
    return "\n\n".join(filter(None, texts)) or None
