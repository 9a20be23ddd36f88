"""Detection of the tool that wrote a file, from the beginning of its content."""

import csv
from collections.abc import Mapping
from contextlib import suppress
from io import StringIO
from itertools import islice

from app.jobs.formats import google_tasks, microsoft_todo, taskwarrior, trello, vikunja
from app.jobs.formats.base import encoding_of
from app.jobs.formats.json_tool import JsonToolReader, Outline
from app.jobs.formats.ticktick_file import MAX_HEADER_ROWS, is_ticktick
from app.jobs.formats.todoist_file import is_todoist
from app.jobs.models import FileFormat

# In this order: Microsoft's lists have ``tasks`` too, as Vikunja's projects.
JSON_TOOLS: Mapping[str, JsonToolReader] = {
    FileFormat.google_tasks: google_tasks.READER,
    FileFormat.microsoft_todo: microsoft_todo.READER,
    FileFormat.trello: trello.READER,
    FileFormat.vikunja: vikunja.READER,
    FileFormat.taskwarrior: taskwarrior.READER,
}


def detect(file_format: FileFormat, start: bytes) -> FileFormat:
    """Return the format of a file, of which the media type or name says only ``file_format``."""
    if file_format == FileFormat.json:
        return _detect_json(start)
    return _detect_csv(start) if file_format == FileFormat.csv else file_format


def _detect_json(start: bytes) -> FileFormat:
    outline = Outline.of(start)
    if not outline.is_array and outline.names[:1] == ["tasks"]:
        return FileFormat.json
    tools = (name for name, reader in JSON_TOOLS.items() if reader.is_export(outline))
    return FileFormat(next(tools, FileFormat.json))


def _detect_csv(start: bytes) -> FileFormat:
    text = StringIO(start.decode(encoding_of(start), errors="replace"), newline="")
    with suppress(csv.Error):
        for number, cells in enumerate(islice(csv.reader(text), MAX_HEADER_ROWS)):
            if number == 0 and is_todoist(cells):
                return FileFormat.todoist
            if is_ticktick(cells):
                return FileFormat.ticktick
    return FileFormat.csv
