"""A walk through a JSON file with one element in memory at a time."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import IO

from app.api.parsing import MAX_DEPTH, READ_SIZE, is_too_deep
from app.errors import MalformedJson
from app.jobs.formats.base import (
    ENCODING_NAMES,
    MAX_NAME_LENGTH,
    MAX_ROW_LENGTH,
    UTF_16,
    NotRead,
    Row,
    open_text,
    unreadable,
)

# A step of a path: into each element of an array. Other steps are names of members.
EACH = "[]"
SPACE = re.compile(r"[ \t\r\n]*")
# Only syntax matters here; Python would reject integers of thousands of digits.
DECODER = json.JSONDecoder(parse_int=str)
# Levels of a skipped value that are read item by item, because the value may be very long.
SKIPPED_LEVELS = 3
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


class JsonWalker:
    """Yields the texts of the elements at a path, such as ``("tasks", EACH)``.

    Other members on the way are skipped, and their names added to ``outside``; if that is None,
    they are rejected, and so is null in place of an array.
    """

    def __init__(self, file: IO[bytes], outside: NotRead | None = None) -> None:
        # Invalid bytes become lone surrogates, which ``_element`` rejects.
        self._file = open_text(file)
        self._outside = outside
        self._found: set[str] = set()
        self._buffer = ""
        self._position = 0
        self._line = 1

    def is_object(self) -> bool:
        """Return whether the file begins like an object."""
        return self._peek() == "{"

    def rows(self, path: Sequence[str]) -> Iterator[Row]:
        """Yield the elements. Raises MalformedJson, or ValidationFailed for another structure."""
        yield from self._walk(path)
        if self._peek():
            raise self._malformed()
        if path[0] != EACH and path[0] not in self._found:
            raise unreadable(f"The object has no member {path[0]!r}.")

    def _walk(self, path: Sequence[str]) -> Iterator[Row]:
        if not path:
            self._skip_space()
            yield Row(self._line, self._element())
        elif path[0] == EACH:
            for _ in self._items("[]"):
                yield from self._walk(path[1:])
        else:
            yield from self._member(path)

    def _member(self, path: Sequence[str]) -> Iterator[Row]:
        """Walk through the member of an object, which comes at most once."""
        is_found = False
        for _ in self._items("{}"):
            name = self._name()
            if name != path[0]:
                self._skip_member(name)
            elif is_found:
                raise self._malformed("an object has the same key twice")
            else:
                is_found = True
                yield from self._walk(path[1:])
        self._found |= {path[0]} if is_found else set()

    def _items(self, brackets: str) -> Iterator[None]:
        """Yield at the start of each item of an array or object."""
        if self._outside is not None and self._peek() == "n":
            self._consume(self._find_end())  # null
            return
        if (char := self._peek()) != brackets[0]:
            kind = "an array" if brackets == "[]" else "an object"
            wrong_kind = unreadable(f"Line {self._line}: this must be {kind}.")
            raise wrong_kind if char else self._malformed()
        self._consume(self._position + 1)
        if self._peek() != brackets[1]:
            yield
            while self._peek() == ",":
                self._consume(self._position + 1)
                yield
        self._require(brackets[1])

    def _name(self) -> str:
        if self._peek() != '"':
            raise self._malformed()
        end = self._find_end()
        name: str = DECODER.decode(self._buffer[self._position : end])
        self._consume(end)
        self._require(":")
        return name

    def _skip_member(self, name: str) -> None:
        if self._outside is None:
            raise unreadable(f"Line {self._line}: unknown member {name[:MAX_NAME_LENGTH]!r}.")
        self._outside.add([name])
        self._skip(SKIPPED_LEVELS)

    def _skip(self, levels: int) -> None:
        """Skip a value; at its upper ``levels``, only one item at a time is in memory."""
        char = self._peek()
        if levels == 0 or char not in {"[", "{"}:
            self._consume(self._find_end())
            return
        for _ in self._items("[]" if char == "[" else "{}"):
            if char == "{":
                self._name()
            self._skip(levels - 1)

    def _element(self) -> bytes:
        """Consume the element at the current position, and return its text."""
        end = self._find_end()
        try:
            raw = self._buffer[self._position : end].encode()
        except UnicodeEncodeError:
            raise self._malformed(f"this is not {ENCODING_NAMES[self._file.encoding]}") from None
        if is_too_deep(raw):
            raise self._malformed(TOO_DEEP)
        self._consume(end)
        return raw

    def _find_end(self) -> int:
        """Return where the value at the current position ends, and read as far as that."""
        while True:
            try:
                _, end = DECODER.raw_decode(self._buffer, self._position)
            except RecursionError:
                raise self._malformed(TOO_DEEP) from None
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

    def _require(self, char: str) -> None:
        if self._peek() != char:
            raise self._malformed()
        self._consume(self._position + 1)

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
            too_long = f"a value is longer than {MAX_ROW_LENGTH} characters"
            raise unreadable(f"Line {self._line}: {too_long}.")
        # At least doubles the text, so that a long task is not decoded many times.
        try:
            block = self._file.read(max(READ_SIZE, length))
        except UnicodeDecodeError:
            raise self._malformed(f"this is not {ENCODING_NAMES[UTF_16]}") from None
        if block:
            self._buffer, self._position = self._buffer[self._position :] + block, 0
        return bool(block)

    def _malformed(self, reason: str = "this is not valid JSON") -> MalformedJson:
        return MalformedJson(f"Line {self._line}: {reason}.")
