"""JSON: an array of tasks, or an object with the array as ``tasks``."""

from collections.abc import Iterator
from typing import Any

import orjson

from app.api.parsing import parse_json
from app.errors import MalformedJson
from app.jobs.formats.base import Fields, NotRead, OpenFile, Row, RowError, Task
from app.jobs.formats.json_walker import EACH, JsonWalker
from app.jobs.schemas import READ_ONLY


class JsonReader:
    """Reads tasks from JSON; each is parsed as strictly as a request body."""

    def rows(self, open_file: OpenFile, outside: NotRead) -> Iterator[Row]:
        walker = JsonWalker(open_file())
        yield from walker.rows(("tasks", EACH) if walker.is_object() else (EACH,))

    def fields(self, raw: bytes, time_zone: str) -> Fields:
        task = parse_object(raw)
        values = {name: value for name, value in task.items() if name not in READ_ONLY}
        return Fields(values, [name for name in task.keys() & READ_ONLY if task[name] is not None])


class JsonWriter:
    """Writes tasks as JSON, one per line."""

    header = b'{"tasks":[\n'
    separator = b",\n"
    footer = b"\n]}\n"

    def write(self, task: Task) -> bytes:
        return orjson.dumps(task, option=orjson.OPT_UTC_Z)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse an element that JsonWalker returned. Raises RowError."""
    try:
        element = parse_json(raw)
    except MalformedJson as error:
        # The walker has validated the syntax. Without a reason it is the length of a number.
        has_reason = error.detail != MalformedJson.detail
        raise RowError(error.detail if has_reason else "A number is too long.") from None
    if not isinstance(element, dict):
        raise RowError("Must be an object.")
    return element
