"""JSON: an array of tasks, or an object with the array as ``tasks``."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson

from app.api.parsing import MAX_DEPTH, parse_json
from app.errors import MalformedJson, ValidationFailed
from app.jobs.formats.base import BOM, MAX_ROW_BYTES, Row, RowError, Task, unreadable
from app.jobs.formats.columns import READ_ONLY

READ_SIZE = 64 * 1024

START = re.compile(rb'(\{\s*"tasks"\s*:\s*)?\[')
SPACE = re.compile(rb"[ \t\r\n]*")
SCALAR = re.compile(rb"[^\s,\[\]{}\"]+")
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# Everything up to a bracket or an incomplete string. The outer repetition is not possessive:
# Python 3.11.2 (Debian 12) would then skip into the incomplete string.
NO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*', re.DOTALL)


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
        self._file = file
        self._buffer = file.read(READ_SIZE).removeprefix(BOM)
        self._position = 0
        self._line = 1

    def __iter__(self) -> Iterator[Row]:
        self._skip_space()
        start = START.match(self._buffer, self._position)
        if start is None:
            is_cut_off = self._buffer[self._position :] in {b"", b"{"}
            raise self._malformed() if is_cut_off else self._wrong_shape()
        self._consume(start.end())
        if self._peek() != b"]":
            yield from self._elements()
        for bracket in (b"]", b"}") if start[1] else (b"]",):
            if (byte := self._peek()) != bracket:
                raise self._wrong_shape() if byte == b"," else self._malformed()
            self._consume(self._position + 1)
        if self._peek():
            raise self._malformed()

    def _elements(self) -> Iterator[Row]:
        while True:
            self._skip_space()
            line = self._line
            text = self._consume(self._find_end())
            self._validate(text, line)
            yield Row(line, text)
            if self._peek() != b",":
                return
            self._consume(self._position + 1)

    def _find_end(self) -> int:
        """Return the end of the element at the current position."""
        first = self._peek()
        if first in {b"", b",", b"]", b"}"}:
            raise self._malformed()
        if first in {b"{", b"["}:
            return self._find_closing_bracket()
        pattern = STRING if first == b'"' else SCALAR
        while True:
            match = pattern.match(self._buffer, self._position)
            # A number may continue in the next block.
            if match and (first == b'"' or match.end() < len(self._buffer)):
                return match.end()
            if not self._read_block():
                if match:
                    return match.end()
                raise self._malformed()

    def _find_closing_bracket(self) -> int:
        # Relative to the position, which moves when the buffer grows.
        offset = depth = 0
        while True:
            match = NO_BRACKET.match(self._buffer, self._position + offset)
            offset = match.end() - self._position if match else offset
            end = self._position + offset
            byte = self._buffer[end : end + 1]
            if byte in {b"", b'"'}:
                if not self._read_block():
                    raise self._malformed()
                continue
            offset += 1
            depth += 1 if byte in {b"{", b"["} else -1
            if depth > MAX_DEPTH:
                raise self._malformed(f"nested more than {MAX_DEPTH} levels deep")
            if not depth:
                return self._position + offset

    def _validate(self, text: bytes, line: int) -> None:
        try:
            json.loads(text.decode())
        except (UnicodeDecodeError, json.JSONDecodeError):
            self._line = line
            raise self._malformed("this is not valid JSON in UTF-8") from None
        except ValueError:  # A number with thousands of digits: an error of this row only.
            return

    def _peek(self) -> bytes:
        """Return the next byte that is not white space, or nothing at the end."""
        self._skip_space()
        return self._buffer[self._position : self._position + 1]

    def _skip_space(self) -> None:
        while match := SPACE.match(self._buffer, self._position):
            self._consume(match.end())
            if self._position < len(self._buffer) or not self._read_block():
                return

    def _consume(self, end: int) -> bytes:
        text = self._buffer[self._position : end]
        self._line += text.count(b"\n")
        self._position = end
        return text

    def _read_block(self) -> bool:
        """Append a block to the unread rest of the buffer; return False at the end of the file."""
        self._buffer = self._buffer[self._position :]
        self._position = 0
        if len(self._buffer) > MAX_ROW_BYTES:
            raise unreadable(f"Line {self._line}: a task is longer than {MAX_ROW_BYTES} bytes.")
        block = self._file.read(READ_SIZE)
        self._buffer += block
        return bool(block)

    def _malformed(self, reason: str = "this is not valid JSON") -> MalformedJson:
        return MalformedJson(f"Line {self._line}: {reason}.")

    def _wrong_shape(self) -> ValidationFailed:
        return unreadable('Must be an array of tasks, or {"tasks": [...]} and nothing else.')
