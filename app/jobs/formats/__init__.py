"""The file formats of exports and imports."""

from collections.abc import Callable, Mapping

from app.jobs.formats.base import Reader, Writer
from app.jobs.formats.csv_file import CsvReader, CsvWriter
from app.jobs.formats.detection import JSON_TOOLS
from app.jobs.formats.icalendar_file import ICalendarReader, ICalendarWriter
from app.jobs.formats.json_file import JsonReader, JsonWriter
from app.jobs.formats.ticktick_file import TickTickReader
from app.jobs.formats.todoist_file import TodoistReader
from app.jobs.models import FileFormat

READERS: Mapping[str, Reader] = {
    FileFormat.json: JsonReader(),
    FileFormat.csv: CsvReader(),
    FileFormat.icalendar: ICalendarReader(),
    FileFormat.todoist: TodoistReader(),
    FileFormat.ticktick: TickTickReader(),
    **JSON_TOOLS,
}
WRITERS: Mapping[str, Callable[[], Writer]] = {
    FileFormat.json: JsonWriter,
    FileFormat.csv: CsvWriter,
    FileFormat.icalendar: ICalendarWriter,
}
