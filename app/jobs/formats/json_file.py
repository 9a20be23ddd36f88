"""JSON: an array of tasks, or an object with that as ``tasks``.

The file is cut into the texts of its elements, so that one is in memory at a time and each is read
as strictly as a request's body is. What is no JSON at all is found while cutting.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson

from app.errors import MalformedJson
from app.http.body import DEEPEST, read_json
from app.http.output import Row as Task
from app.jobs.formats.columns import SHOWN_ONLY
from app.jobs.formats.rows import BOM, MOST, Refused, Row, Unreadable, fault, unreadable

BLOCK = 64 * 1024
SHAPE = 'Must be an array of tasks, or {"tasks": [...]} and nothing else.'

_head = re.compile(rb'(\{\s*"tasks"\s*:\s*)?\[')
_space = re.compile(rb"[ \t\r\n]*")
_scalar = re.compile(rb"[^\s,\[\]{}\"]+")
_string = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# Up to the next bracket; a string that does not end here stops it too. Were the whole possessive,
# Python 3.11.2, which is Debian 12's, would pass by what is held of such a string.
_run = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*', re.DOTALL)


class JsonReader:
    """Reads what JsonWriter writes, and what others say of tasks in our words."""

    def rows(self, file: IO[bytes]) -> Iterator[Row]:
        yield from _Cutter(file).elements()

    def fields(self, raw: bytes, time_zone: str) -> Mapping[str, Any]:
        try:
            task = read_json(raw)
        except MalformedJson as error:
            # The text is JSON: what has no reason of its own is a number.
            told = error.detail if error.detail != MalformedJson.detail else "A number is too long."
            raise Refused([fault(told)]) from None
        if not isinstance(task, dict):
            raise Refused([fault("Must be an object.")])
        return {name: value for name, value in task.items() if name not in SHOWN_ONLY}


class JsonWriter:
    begin = b'{"tasks":[\n'
    between = b",\n"
    end = b"\n]}\n"

    def write(self, task: Task) -> bytes:
        return orjson.dumps(task, option=orjson.OPT_UTC_Z)


class _Cutter:
    """Cuts a file; ``_at`` is the place in what is held of it, ``_line`` the line of that place."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held = file.read(BLOCK).removeprefix(BOM)
        self._at = 0
        self._line = 1

    def elements(self) -> Iterator[Row]:
        self._skip_space()
        head = _head.match(self._held, self._at)
        if head is None:
            raise self._malformed() if self._held[self._at :] in {b"", b"{"} else self._misshapen()
        self._take(head.end())
        closing = b"]}" if head[1] else b"]"
        if self._next() != b"]":
            yield from self._listed()
        for bracket in closing:
            if self._next() != bytes([bracket]):
                raise self._misshapen() if self._next() == b"," else self._malformed()
            self._take(self._at + 1)
        if self._next():
            raise self._malformed()

    def _listed(self) -> Iterator[Row]:
        while True:
            self._next()
            line = self._line
            text = self._take(self._end())
            self._check(text, line)
            yield Row(line, text)
            if self._next() != b",":
                return
            self._take(self._at + 1)

    def _end(self) -> int:
        """Return where the element ends that begins here."""
        first = self._next()
        if first in {b"", b",", b"]", b"}"}:
            raise self._malformed()
        if first in {b"{", b"["}:
            return self._end_of_brackets()
        pattern = _string if first == b'"' else _scalar
        while True:
            found = pattern.match(self._held, self._at)
            # A number may go on in the next block.
            if found and (found.end() < len(self._held) or first == b'"'):
                return found.end()
            if not self._fill():
                if found:
                    return found.end()
                raise self._malformed()

    def _end_of_brackets(self) -> int:
        looked, depth = 0, 0
        while True:
            found = _run.match(self._held, self._at + looked)
            place = found.end() if found else self._at + looked
            sign = self._held[place : place + 1]
            looked = place - self._at
            if sign in {b"", b'"'}:
                if not self._fill():
                    raise self._malformed()
                continue
            looked += 1
            depth += 1 if sign in {b"{", b"["} else -1
            if depth > DEEPEST:
                raise self._malformed(f"Line {self._line}: nested more than {DEEPEST} deep.")
            if not depth:
                return self._at + looked

    def _check(self, text: bytes, line: int) -> None:
        try:
            json.loads(text.decode())
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise self._malformed(f"Line {line}: this is not valid JSON in UTF-8.") from None
        except ValueError:  # a number of thousands of digits, which is for the row to say
            return

    def _next(self) -> bytes:
        """Return the next sign that is no white space; none at the end."""
        self._skip_space()
        return self._held[self._at : self._at + 1]

    def _skip_space(self) -> None:
        while found := _space.match(self._held, self._at):
            self._take(found.end())
            if self._at < len(self._held) or not self._fill():
                return

    def _take(self, end: int) -> bytes:
        """Return what is held up to ``end``, and go on behind it."""
        text = self._held[self._at : end]
        self._line += text.count(b"\n")
        self._at = end
        return text

    def _fill(self) -> bool:
        """Hold more of the file; tell whether there was more."""
        self._held = self._held[self._at :]
        self._at = 0
        if len(self._held) > MOST:
            raise unreadable(f"Line {self._line}: a task is longer than {MOST} bytes.")
        block = self._file.read(BLOCK)
        self._held += block
        return bool(block)

    def _malformed(self, detail: str | None = None) -> Unreadable:
        told = detail or f"Line {self._line}: this is not valid JSON."
        return Unreadable(MalformedJson(told))

    def _misshapen(self) -> Unreadable:
        return unreadable(SHAPE)
