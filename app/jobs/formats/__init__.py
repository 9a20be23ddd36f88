"""The formats that tasks come and go in."""

from collections.abc import Callable, Mapping
from typing import Protocol

from app.http.output import Row as Task
from app.jobs.formats.csv_file import CsvReader, CsvWriter
from app.jobs.formats.icalendar_file import ICalendarReader, ICalendarWriter
from app.jobs.formats.json_file import JsonReader, JsonWriter
from app.jobs.formats.rows import Reader
from app.jobs.formats.todoist_file import TodoistReader
from app.jobs.models import Format


class Writer(Protocol):
    """Writes one format: what a file begins and ends with, and tasks between."""

    @property
    def begin(self) -> bytes: ...

    @property
    def between(self) -> bytes: ...

    @property
    def end(self) -> bytes: ...

    def write(self, task: Task) -> bytes:
        """Return a task, whose members are those of its schema, as the format has it."""


READERS: Mapping[str, Reader] = {
    Format.json: JsonReader(),
    Format.csv: CsvReader(),
    Format.icalendar: ICalendarReader(),
    Format.todoist: TodoistReader(),
}
WRITERS: Mapping[str, Callable[[], Writer]] = {
    Format.json: JsonWriter,
    Format.csv: CsvWriter,
    Format.icalendar: ICalendarWriter,
}
