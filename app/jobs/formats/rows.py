"""What readers of all formats have in common: rows, and why one or a whole file is refused."""

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple, Protocol

from app.errors import Fault, Problem, ValidationFailed

# What one row may be, in bytes: more than any task is.
MOST = 1024 * 1024
BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """A row of a file as it was found, and the line that it begins in."""

    line: int
    raw: Any


class Refused(Exception):
    """A row that is no task; ``faults`` tell why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__()
        self.faults = faults


class Unreadable(Exception):
    """A file that can't be read as what it was sent as."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


class Reader(Protocol):
    """Reads one format."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        """Yield the rows of a file, holding one at a time. Raises Unreadable."""

    def fields(self, raw: Any, time_zone: str) -> Mapping[str, Any]:
        """Return what a row says of a task, as a client would say it. Raises Refused.

        ``time_zone`` is for times that name none.
        """


def fault(detail: str, field: str = "") -> Fault:
    """Say what is wrong with a field, or with the whole."""
    return {"pointer": f"/{field}" if field else "", "detail": detail}


def unreadable(detail: str) -> Unreadable:
    return Unreadable(ValidationFailed([fault(detail)]))


class Lines:
    """The lines of a file with their ends; those of one row may not be too long together."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = MOST
        self.number = 0

    def begin_row(self) -> None:
        """Say that what was read is not part of the next row."""
        self._left = MOST

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(self._left + 1):
            self.number += 1
            self._left -= len(line)
            if self._left < 0:
                raise unreadable(f"Line {self.number}: a row is longer than {MOST} bytes.")
            yield line.removeprefix(BOM) if self.number == 1 else line
