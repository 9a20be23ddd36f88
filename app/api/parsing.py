"""Strict parsing of JSON bodies (RFC 8259) and query strings, with errors by JSON Pointer."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn
from urllib.parse import parse_qsl

import marshmallow as ma
from flask import Request, current_app, request
from webargs.fields import DelimitedList
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.http import parse_options_header

from app import errors
from app.api.operation_meta import get_meta

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
MAX_DEPTH = 32
READ_SIZE = 64 * 1024
# More than the largest upload: a client that exceeds it slightly still sees the response.
MAX_DRAINED_BYTES = 80 * 1024 * 1024
INCOMPLETE = "The body is shorter than its Content-Length."
UNKNOWN_FIELD = "Unknown field."
READ_ONLY_FIELD = "Read-only field."
UNKNOWN_PARAMETER = "Unknown parameter."

# The possessive quantifier keeps an unterminated string from being tried at each of its quotes.
_BRACKETS_OUTSIDE_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


class StrictParser(FlaskParser):
    """Parses request arguments and raises problems.

    webargs ignores unknown query parameters, and Flask accepts duplicate keys, ``NaN`` and any
    depth in JSON.
    """

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": ma.RAISE, "query": ma.RAISE}

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        require_json(req)
        return parse_json(read_body(req))

    def load_querystring(self, req: Request, schema: ma.Schema) -> dict[str, str]:
        """Return one string per parameter; a list field takes repeated ones too."""
        params: dict[str, str] = {}
        # Bytes that are not UTF-8 become lone surrogates, which the fields reject.
        query = req.query_string.decode(errors="surrogateescape")
        for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
            if name not in params:
                params[name] = value
            elif isinstance(schema.fields.get(name), DelimitedList):
                params[name] += f",{value}"
            else:
                raise ma.ValidationError({name: ["Given more than once."]})
        return params

    def handle_error(self, error: ma.ValidationError, *_: Any, **__: Any) -> NoReturn:
        # webargs puts the messages under the name of the location.
        [(location, messages)] = error.normalized_messages().items()
        if location == "query":
            raise errors.ValidationFailed(
                [
                    query_error(name, item["detail"])
                    for name, inner in messages.items()
                    for item in flatten_errors(inner)
                ]
            )
        view = current_app.view_functions[request.endpoint or ""]
        raise errors.ValidationFailed(body_errors(messages, get_meta(view).schema))


class StrictJSONError(ValueError):
    """JSON that Python's parser accepts and this API does not."""


def parse_json(raw: bytes) -> Any:
    """Parse a body. Raises MalformedJson for invalid or ambiguous JSON."""
    if is_too_deep(raw):
        raise errors.MalformedJson(f"The body is nested more than {MAX_DEPTH} levels deep.")
    try:
        return _decode(raw.decode("utf-8"))
    except ValueError as error:
        detail = str(error) if isinstance(error, StrictJSONError) else None
        raise errors.MalformedJson(detail) from None


def is_too_deep(raw: bytes) -> bool:
    """Return whether JSON is nested more than MAX_DEPTH levels deep."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for match in _BRACKETS_OUTSIDE_STRINGS.finditer(raw):
        depth += bool(match[1]) - bool(match[2])
        if depth > MAX_DEPTH:
            return True
    return False


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJSONError("An object has the same key twice.")
    return members


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise StrictJSONError("A number is too large.")
    return number


def _reject_constant(name: str) -> NoReturn:
    raise StrictJSONError(f"{name} is not a JSON value.")


_decode = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_float=_finite_float,
    parse_constant=_reject_constant,
).decode


def require_json(req: Request) -> None:
    """Raise UnsupportedMediaType unless the body is declared as uncompressed UTF-8 JSON."""
    accepted = {JSON, MERGE_PATCH} if req.method == "PATCH" else {JSON}
    media_type, options = parse_options_header(req.content_type)
    charset = options.get("charset", "utf-8").lower()
    encoding = req.headers.get("Content-Encoding", "identity").lower()
    if media_type.lower() not in accepted or charset not in {"utf-8", "utf8"}:
        raise errors.UnsupportedMediaType
    if encoding != "identity":
        raise errors.UnsupportedMediaType


def read_body(req: Request) -> bytes:
    """Return the body, which Werkzeug caches.

    Raises PayloadTooLarge, also for a body without Content-Length, and BadRequest for one that
    is not complete.
    """
    with _bad_request_on_error():
        raw = req.get_data()
        _require_complete(req, len(raw))
    return raw


def stream_to_file(req: Request, file: IO[bytes]) -> None:
    """Write a body of any length into ``file``. Raises what ``read_body`` does."""
    limit = req.max_content_length or 0
    length = 0
    with _bad_request_on_error():
        while length < limit and (block := req.stream.read(min(READ_SIZE, limit - length))):
            length += file.write(block)
        _require_complete(req, length)
    file.seek(0)


@contextmanager
def _bad_request_on_error() -> Iterator[None]:
    try:
        yield
    except ClientDisconnected:
        raise errors.BadRequest(INCOMPLETE) from None
    except (HTTPException, errors.Problem):
        raise
    except Exception as error:  # each WSGI server raises its own for malformed chunks
        raise errors.BadRequest("The body can't be read.") from error


def _require_complete(req: Request, length: int) -> None:
    """Raise a problem if a body is incomplete, or exceeds the limit without a Content-Length."""
    # Werkzeug silently truncates such a body.
    truncated = length == req.max_content_length and req.content_length is None
    if truncated and req.environ["wsgi.input"].read(1):
        raise errors.PayloadTooLarge
    # A server that sets ``wsgi.input_terminated`` makes Werkzeug accept a shorter body.
    if length < (req.content_length or 0):
        raise errors.BadRequest(INCOMPLETE)


def drain_body(stream: IO[bytes]) -> None:
    """Read the rest of a body: a client cut off while sending may never see the response."""
    remaining = MAX_DRAINED_BYTES
    with suppress(Exception):  # malformed chunks
        while remaining > 0 and (block := stream.read(READ_SIZE)):
            remaining -= len(block)


def body_errors(messages: Any, response_schema: ma.Schema | None) -> list[errors.FieldError]:
    """Return the errors of a body; unknown fields that the response has are read-only."""
    read_only = {f"/{name}" for name in (response_schema.fields if response_schema else ())}
    return [
        {**error, "detail": READ_ONLY_FIELD}
        if error["detail"] == UNKNOWN_FIELD and error["pointer"] in read_only
        else error
        for error in flatten_errors(messages)
    ]


def flatten_errors(messages: Any, pointer: str = "") -> Iterator[errors.FieldError]:
    """Yield one error for each of marshmallow's messages, located by JSON Pointer."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            # "_schema" is marshmallow's key for the whole object, and may be a client's field.
            is_object = key == "_schema" and inner != [UNKNOWN_FIELD]
            step = "" if is_object else pointer_to(str(key))
            yield from flatten_errors(inner, pointer + step)
    elif isinstance(messages, str):
        yield {"pointer": pointer, "detail": messages}
    else:
        for message in messages:
            yield from flatten_errors(message, pointer)


def query_error(name: str, detail: str) -> errors.FieldError:
    """Return the error of a query parameter."""
    detail = UNKNOWN_PARAMETER if detail == UNKNOWN_FIELD else detail
    return {"parameter": printable(name), "detail": detail}


def pointer_to(name: str) -> str:
    """Return the JSON Pointer (RFC 6901) to a member."""
    return "/" + printable(name).replace("~", "~0").replace("/", "~1")


def printable(name: str) -> str:
    """Return a name with lone surrogates escaped, since no JSON text can hold them."""
    return name.encode("utf-8", "backslashreplace").decode()
