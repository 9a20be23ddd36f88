"""Rows of a file, read and validated: tasks to create, and entries of the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from marshmallow import ValidationError

from app.api.parsing import flatten_errors
from app.errors import FieldError
from app.jobs.formats.base import MAX_NAME_LENGTH, NotRead, Reader, Row, RowError, RowSkipped
from app.tasks.schemas import CreateTaskSchema

CREATE_SCHEMA = CreateTaskSchema()
# Rows in memory at once, and characters of their texts.
BATCH_SIZE = 500
MAX_BATCH_LENGTH = 1024 * 1024
# Limit of an entry.
MAX_ERRORS_PER_ROW = 5
# The items of each kind in a summary.
SUMMARY_SIZE = 20

Entry = Mapping[str, Any]


@dataclass
class Batch:
    """Consecutive rows: tasks to create, and entries of the refused and the skipped ones."""

    tasks: list[Mapping[str, Any]] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)
    skipped: list[Entry] = field(default_factory=list)
    not_read: NotRead = field(default_factory=NotRead)
    text_length: int = 0

    def __len__(self) -> int:
        return len(self.tasks) + len(self.refused) + len(self.skipped)

    @property
    def entries(self) -> list[Entry]:
        """The entries in the order of the file."""
        return sorted(self.refused + self.skipped, key=lambda entry: int(entry["row"]))

    @property
    def is_full(self) -> bool:
        return len(self) >= BATCH_SIZE or self.text_length >= MAX_BATCH_LENGTH

    def add(self, number: int, row: Row, reader: Reader, time_zone: str) -> None:
        """Read and validate a row."""
        place = {"row": number, "line": row.line}
        try:
            fields = reader.fields(row.raw, time_zone)
            task = CREATE_SCHEMA.load(fields.values)
        except RowSkipped as skipped:
            self.skipped.append({**place, "skipped": skipped.kind})
        except RowError as error:
            self.refused.append({**place, "errors": _shorten(error.errors)})
        except ValidationError as error:
            self.refused.append({**place, "errors": _shorten(flatten_errors(error.messages))})
        else:
            self.tasks.append(task)
            self.text_length += len(task["title"]) + len(task["description"] or "")
            self.not_read.add(fields.not_read)


@dataclass
class Summary:
    """The counts of all rows, and the first rows of each kind."""

    created: int = 0
    refused: int = 0
    skipped: int = 0
    not_read: NotRead = field(default_factory=NotRead)
    first: Batch = field(default_factory=Batch)
    complete: bool = True

    @property
    def tasks(self) -> list[Mapping[str, Any]]:
        """The first tasks."""
        return self.first.tasks

    @property
    def rows(self) -> list[Entry]:
        """The first refused and skipped rows."""
        return self.first.entries

    def add(self, batch: Batch) -> None:
        """Add the rows of a batch."""
        self.created += len(batch.tasks)
        self.refused += len(batch.refused)
        self.skipped += len(batch.skipped)
        self.not_read.merge(batch.not_read)
        _fill(self.first.tasks, batch.tasks)
        _fill(self.first.refused, batch.refused)
        _fill(self.first.skipped, batch.skipped)


def read_batches(
    reader: Reader, rows: Iterator[Row], time_zone: str, *, processed: int = 0
) -> Iterator[Batch]:
    """Yield the rows after the first ``processed``."""
    batch = Batch()
    for number, row in enumerate(islice(rows, processed, None), start=processed + 1):
        batch.add(number, row, reader, time_zone)
        if batch.is_full:
            yield batch
            batch = Batch()
    if batch:
        yield batch


def _fill(items: list[Entry], more: Sequence[Entry]) -> None:
    items += more[: SUMMARY_SIZE - len(items)]


def _shorten(errors: Iterable[FieldError]) -> list[FieldError]:
    """Limit the errors of a row: the report must not become as long as the file."""
    return [
        {**error, "pointer": error["pointer"][:MAX_NAME_LENGTH]}
        for error in islice(errors, MAX_ERRORS_PER_ROW)
    ]
