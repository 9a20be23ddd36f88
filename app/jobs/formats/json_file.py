"""JSON: an array of tasks, or an object with the array as ``tasks``."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson

from app.api.parsing import MAX_DEPTH, READ_SIZE, is_too_deep, parse_json
from app.errors import MalformedJson, ValidationFailed
from app.jobs.formats.base import MAX_ROW_LENGTH, Row, RowError, Task, open_text, unreadable
from app.jobs.schemas import READ_ONLY

START = re.compile(r'(\{[ \t\r\n]*"tasks"[ \t\r\n]*:[ \t\r\n]*)?\[')
SPACE = re.compile(r"[ \t\r\n]*")
# Only syntax matters here; Python would reject integers of thousands of digits.
DECODER = json.JSONDecoder(parse_int=str)


class JsonReader:
    """Reads tasks from JSON; each is parsed as strictly as a request body."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        yield from JsonArraySplitter(file)

    def fields(self, raw: bytes, time_zone: str) -> Mapping[str, Any]:
        try:
            task = parse_json(raw)
        except MalformedJson as error:
            # The splitter has validated the syntax. Without a reason it is the length of a number.
            has_reason = error.detail != MalformedJson.detail
            raise RowError(error.detail if has_reason else "A number is too long.") from None
        if not isinstance(task, dict):
            raise RowError("Must be an object.")
        return {name: value for name, value in task.items() if name not in READ_ONLY}


class JsonWriter:
    """Writes tasks as JSON, one per line."""

    header = b'{"tasks":[\n'
    separator = b",\n"
    footer = b"\n]}\n"

    def write(self, task: Task) -> bytes:
        return orjson.dumps(task, option=orjson.OPT_UTC_Z)


class JsonArraySplitter:
    """Splits an array into the texts of its elements, with one in memory at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        # Invalid bytes become lone surrogates, which ``_element`` rejects.
        self._file = open_text(file)
        self._buffer = ""
        self._position = 0
        self._line = 1

    def __iter__(self) -> Iterator[Row]:
        self._skip_space()
        start = START.match(self._buffer, self._position)
        if start is None:
            is_cut_off = self._buffer[self._position :] in {"", "{"}
            raise self._malformed() if is_cut_off else self._wrong_shape()
        self._consume(start.end())
        if self._peek() != "]":
            yield from self._elements()
        for bracket in "]}" if start[1] else "]":
            if (char := self._peek()) != bracket:
                raise self._wrong_shape() if char == "," else self._malformed()
            self._consume(self._position + 1)
        if self._peek():
            raise self._malformed()

    def _elements(self) -> Iterator[Row]:
        while True:
            self._skip_space()
            yield Row(self._line, self._element())
            if self._peek() != ",":
                return
            self._consume(self._position + 1)

    def _element(self) -> bytes:
        """Consume the element at the current position, and return its text."""
        too_deep = self._malformed(f"nested more than {MAX_DEPTH} levels deep")
        try:
            end = self._find_end()
            raw = self._buffer[self._position : end].encode()
        except RecursionError:
            raise too_deep from None
        except UnicodeEncodeError:
            raise self._malformed("this is not UTF-8") from None
        if is_too_deep(raw):
            raise too_deep
        self._consume(end)
        return raw

    def _find_end(self) -> int:
        while True:
            try:
                _, end = DECODER.raw_decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                # An element that is cut off is invalid at its end, or at its last string or word.
                end_of_buffer = len(self._buffer) - len("-Infinity")
                is_cut_off = error.pos > end_of_buffer or error.msg.startswith("Unterminated")
                if not is_cut_off or not self._read_block():
                    raise self._malformed() from None
            else:
                # A number at the end of the buffer, such as ``1e+``, may go on in the next block.
                if end < len(self._buffer) - len("e+") or not self._read_block():
                    return end

    def _peek(self) -> str:
        """Return the next character that is not white space, or nothing at the end."""
        self._skip_space()
        return self._buffer[self._position : self._position + 1]

    def _skip_space(self) -> None:
        while match := SPACE.match(self._buffer, self._position):
            self._consume(match.end())
            if self._position < len(self._buffer) or not self._read_block():
                return

    def _consume(self, end: int) -> None:
        self._line += self._buffer.count("\n", self._position, end)
        self._position = end

    def _read_block(self) -> bool:
        """Append a block to the unread rest of the buffer; return False at the end of the file."""
        length = len(self._buffer) - self._position
        if length > MAX_ROW_LENGTH:
            too_long = f"a task is longer than {MAX_ROW_LENGTH} characters"
            raise unreadable(f"Line {self._line}: {too_long}.")
        # At least doubles the text, so that a long task is not decoded many times.
        try:
            block = self._file.read(max(READ_SIZE, length))
        except UnicodeDecodeError:
            raise self._malformed("this is not UTF-16") from None
        if block:
            self._buffer, self._position = self._buffer[self._position :] + block, 0
        return bool(block)

    def _malformed(self, reason: str = "this is not valid JSON") -> MalformedJson:
        return MalformedJson(f"Line {self._line}: {reason}.")

    def _wrong_shape(self) -> ValidationFailed:
        return unreadable('Must be an array of tasks, or {"tasks": [...]} and nothing else.')
