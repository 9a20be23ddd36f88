"""The reader of other tools' JSON exports, which a table of names and a function describe."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.jobs.formats.base import (
    Fields,
    NotRead,
    OpenFile,
    Row,
    RowError,
    due_at,
    encoding_of,
    require_known,
)
from app.jobs.formats.json_file import parse_object
from app.jobs.formats.json_walker import JsonWalker

# The start of a file, from which its format is detected.
MAX_START_LENGTH = 64 * 1024
# A string, and the colon behind it if it is a name.
STRING = re.compile(r'"((?:[^"\\]|\\.)*+)"(\s*:)?', re.DOTALL)

# A time that is not set, as programs in Go write it.
NO_TIME = "0001-01-01T00:00:00Z"

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Outline:
    """The start of a JSON file: whether it is an array, and the names of members."""

    is_array: bool
    names: Sequence[str]
    text: str

    @classmethod
    def of(cls, start: bytes) -> "Outline":
        text = start.decode(encoding_of(start), errors="replace").lstrip()
        names = [match[1] for match in STRING.finditer(text) if match[2]]
        return cls(text.startswith("["), names, text)


@dataclass(frozen=True)
class JsonToolReader:
    """Reads the tasks of one tool.

    ``path`` says where they are, and ``convert`` returns the fields of one. ``read`` and
    ``not_read`` are the members that a task may have.
    """

    is_export: Callable[[Outline], bool]
    path: Callable[[Outline], Sequence[str]]
    read: frozenset[str]
    not_read: frozenset[str]
    convert: Callable[[Item, str], Mapping[str, Any]]

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        path = self.path(Outline.of(open_file().read(MAX_START_LENGTH)))
        yield from JsonWalker(open_file(), outside).rows(path)

    def fields(self, raw: bytes, time_zone: str) -> Fields:
        item = parse_object(raw)
        require_known(item, self.read | self.not_read)
        used = [name for name in item.keys() & self.not_read if is_used(item[name])]
        return Fields(self.convert(item, time_zone), used)


def is_used(value: Any) -> bool:
    """Return whether a member has a value that says something."""
    return bool(value) and value != NO_TIME


def text_of(item: Item, name: str) -> str | None:
    """Return a member that is a string or null. Raises RowError."""
    value = item.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError("Must be a string.", name)
    return value


def time_of(item: Item, name: str) -> datetime | None:
    """Return a member that is an ISO 8601 date or time, null or empty. Raises RowError."""
    text = text_of(item, name)
    try:
        return datetime.fromisoformat(text) if text and text != NO_TIME else None
    except ValueError:
        raise RowError("Must be an ISO 8601 date or time.", name) from None


def due_of(item: Item, name: str, time_zone: str) -> Mapping[str, Any]:
    """Return the fields of a due time, or none. Raises RowError."""
    due = time_of(item, name)
    return due_at(due, None, time_zone, f"{name} is out of range.") if due else {}


def choice_of(item: Item, name: str, choices: Mapping[Any, str]) -> str:
    """Return the choice for the value of a member. Raises RowError for an unknown value."""
    value = item.get(name)
    choice = choices.get(value) if isinstance(value, str | int | None) else None
    if choice is None:
        options = ", ".join(str(option) for option in choices if option is not None)
        raise RowError(f"Must be one of: {options}.", name)
    return choice
