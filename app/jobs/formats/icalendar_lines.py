"""The content lines and components of a calendar (RFC 5545, 3.1 and 3.6).

What is not read is not kept: an event may contain a picture that is longer than any task.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from app.api.parsing import MAX_DEPTH
from app.jobs.formats.base import (
    MAX_NAME_LENGTH,
    MAX_ROW_LENGTH,
    NotRead,
    open_text,
    read_line,
    require_valid,
    row_too_long,
    unreadable,
)

# Characters that tell the name of a line, and those that are read at once.
HEAD_LENGTH = 1000
CHUNK_LENGTH = 16 * 1024
NAME_END = re.compile(r"[;:]")
CALENDAR = "VCALENDAR"
# Properties of a calendar that say nothing about its tasks.
CALENDAR_PROPERTIES = frozenset({"BEGIN", "END", "PRODID", "VERSION", "CALSCALE", "METHOD"})


@dataclass(slots=True)
class Component:
    """A component of a calendar: the lines that are read, and the names of the others."""

    name: str
    line: int
    calendar: int
    lines: list[str] = field(default_factory=list)
    not_read: set[str] = field(default_factory=set)
    length: int = 0

    def add_length(self, length: int, number: int) -> None:
        """Count what is kept. Raises ValidationFailed if it is too much."""
        self.length += length
        if self.length > MAX_ROW_LENGTH:
            raise row_too_long(number)


# Decides whether a line is read, from the name of its component, its level (1 is directly in the
# component) and its own name.
IsRead = Callable[[str, int, str], bool]


class ContentLines:
    """Iterates over the unfolded lines of a file.

    A line is read as far as its name needs; ``whole()`` returns all of it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = open_text(file, newline=None)
        self._physical_number = 0
        self._chunk = ""
        self._begins_line = True
        self._head = ""
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        self._read_chunk()
        while self._chunk:
            self.number = self._physical_number
            self._head = self._take()
            while len(self._head) < HEAD_LENGTH and self._continues():
                self._head += self._take(is_continuation=True)
            yield self._head
            while self._continues():
                self._take(is_continuation=True)

    def whole(self, limit: int) -> str:
        """Return the current line. Raises ValidationFailed if it is longer or invalid text."""
        parts, length = [self._head], len(self._head)
        while self._continues():
            parts.append(self._take(is_continuation=True))
            length += len(parts[-1])
            if length > limit:
                raise row_too_long(self._physical_number)
        # A line may be folded within a multi-byte character, so it is checked afterwards.
        return require_valid("".join(parts), self._file.encoding, self.number)

    def _continues(self) -> bool:
        return bool(self._chunk) and (not self._begins_line or self._chunk[0] in " \t")

    def _take(self, *, is_continuation: bool = False) -> str:
        is_folded = is_continuation and self._begins_line
        part = self._chunk[is_folded:].removesuffix("\n")
        self._read_chunk()
        return part

    def _read_chunk(self) -> None:
        self._begins_line = self._chunk.endswith("\n") or self._physical_number == 0
        self._physical_number += self._begins_line
        self._chunk = read_line(self._file, CHUNK_LENGTH, self._physical_number)


def read_components(file: IO[bytes], is_read: IsRead, outside: NotRead) -> Iterator[Component]:
    """Yield the components of all calendars in a file. Raises ValidationFailed."""
    lines = ContentLines(file)
    stack: list[str] = []
    calendars = 0
    component: Component | None = None
    for head in lines:
        level = len(stack) - 1
        name, value = _track(stack, lines.number, head)
        calendars += level < 0 and bool(stack)
        if component is None and len(stack) > 1:
            component = Component(value, lines.number, calendars)
        elif component is None and level == 0 and name and name not in CALENDAR_PROPERTIES:
            outside.add([name])
        if component is None:
            continue
        if is_read(component.name, level, name):
            component.lines.append(lines.whole(MAX_ROW_LENGTH - component.length))
            component.add_length(len(component.lines[-1]), lines.number)
        elif level == 1 and len(stack) > 1:
            component.not_read.add(value if name == "BEGIN" else name)
            component.add_length(MAX_NAME_LENGTH, lines.number)
        if len(stack) == 1:
            yield component
            component = None
    if stack or not calendars:
        raise unreadable("The file ends before its VCALENDAR does.")


def name_of(line: str) -> str:
    """Return the name of a content line in upper case."""
    return NAME_END.split(line, maxsplit=1)[0].strip().upper()[:MAX_NAME_LENGTH]


def _track(stack: list[str], number: int, head: str) -> tuple[str, str]:
    """Update the open components by a line; return its name and value in upper case."""
    name, value = name_of(head), head.partition(":")[2].strip().upper()
    if not stack and head.strip() and (name, value) != ("BEGIN", CALENDAR):
        raise unreadable(f"Line {number}: this is outside of a VCALENDAR.")
    if name == "BEGIN":
        stack.append(value)
        if len(stack) > MAX_DEPTH:
            raise unreadable(f"Line {number}: nested more than {MAX_DEPTH} levels deep.")
    elif name == "END" and stack.pop() != value:
        raise unreadable(f"Line {number}: END does not match the last BEGIN.")
    return name, value
