"""Reading requests: strict JSON, strict queries, faults told by place (RFC 8259, RFC 6901)."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from types import MappingProxyType
from typing import IO, Any, NoReturn
from urllib.parse import parse_qsl

import marshmallow as ma
from flask import Request, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from app.errors import (
    BadRequest,
    Fault,
    MalformedJson,
    PayloadTooLarge,
    Problem,
    UnsupportedMediaType,
    ValidationFailed,
)
from app.http.answers import JSON
from app.http.context import itself
from app.http.promises import DOCUMENTED

DEEPEST = 32
UNKNOWN = "Unknown field."
# More than the longest file, so that one which is a little too long is told so.
MOST_DISCARDED = 80 * 1024 * 1024
# How much of a body is read at once.
BLOCK = 64 * 1024
# What may be sent to this path is a file, whose largest length is MAX_UPLOAD_LENGTH.
UPLOADS = "/api/v1/imports"
# Where WSGI's environment keeps a body that was read.
KEPT = "app.body"
MERGE_PATCH = "application/merge-patch+json"

# A string that never ends takes the rest with it, or each quote in it would be tried as its start.
_outside_strings = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def read_json(raw: bytes) -> Any:
    """Parse a body. Raises MalformedJson for what is not JSON, or has two meanings."""
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth(raw) > DEEPEST:
        raise MalformedJson(f"The body is nested more than {DEEPEST} deep.")
    try:
        return _decode(raw.decode("utf-8"))
    except ValueError as error:
        detail = str(error) if isinstance(error, _Refused) else None
        raise MalformedJson(detail) from None


class _Refused(ValueError):
    """JSON that Python would read and the contract does not take."""


def _depth(raw: bytes) -> int:
    deepest = depth = 0
    for match in _outside_strings.finditer(raw):
        depth += bool(match[1]) - bool(match[2])
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused("A key stands twice in one object.")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Refused("A number is too large.")
    return number


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not a JSON value.")


_decode = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_finite, parse_constant=_constant
).decode


def require_json(req: Request) -> None:
    """Raise UnsupportedMediaType unless the request says that its body is plain UTF-8 JSON."""
    taken = {JSON, MERGE_PATCH} if req.method == "PATCH" else {JSON}
    media_type, charset = _media(req.environ.get("CONTENT_TYPE", ""))
    encoding = req.environ.get("HTTP_CONTENT_ENCODING", "identity").lower()
    if media_type not in taken or charset not in {"utf-8", "utf8"} or encoding != "identity":
        raise UnsupportedMediaType


@lru_cache(maxsize=64)
def _media(content_type: str) -> tuple[str, str]:
    media_type, options = parse_options_header(content_type)
    return media_type.lower(), options.get("charset", "utf-8").lower()


def read_body() -> bytes:
    """Return the body of the request at hand, which is read once.

    Raises PayloadTooLarge, also for one of no stated length, BadRequest for one that is not whole.
    """
    asked = itself(request)
    environ = asked.environ
    if KEPT not in environ:
        with _reading():
            environ[KEPT] = _read(asked)
    body: bytes = environ[KEPT]
    return body


def _read(req: Request) -> bytes:
    length = req.content_length
    if length is None or length > (req.max_content_length or 0):
        raw = req.get_data()
        _require_end(req, len(raw))
    else:
        # Werkzeug reads it piece by piece, which takes longer than a query.
        raw = req.environ["wsgi.input"].read(length)
        _require_whole(length, len(raw))
    return raw


def spool_body(req: Request, file: IO[bytes]) -> None:
    """Write the body into ``file`` as it comes, however long it may be.

    Raises PayloadTooLarge, also for one of no stated length, BadRequest for one that is not whole.
    """
    most = req.max_content_length or 0
    taken = 0
    with _reading():
        stream = req.stream
        while taken < most and (block := stream.read(min(BLOCK, most - taken))):
            taken += file.write(block)
        _require_end(req, taken)
    _require_whole(req.content_length, taken)
    file.seek(0)


@contextmanager
def _reading() -> Iterator[None]:
    """Raise BadRequest for what a server makes of a body that is none."""
    try:
        yield
    except (HTTPException, Problem):
        raise
    except Exception as error:  # each server raises its own
        raise BadRequest("The body can't be read.") from error


def _require_end(req: Request, taken: int) -> None:
    """Raise PayloadTooLarge where a body of no stated length goes on behind the limit.

    There Werkzeug cuts it off, and says nothing.
    """
    full = taken == req.max_content_length and req.content_length is None
    if full and req.environ["wsgi.input"].read(1):
        raise PayloadTooLarge


def _require_whole(length: int | None, taken: int) -> None:
    """Raise BadRequest where a body ends before its stated length."""
    if taken < (length or 0):
        raise BadRequest("The body is shorter than its Content-Length.")


def discard_rest(environ: Mapping[str, Any]) -> None:
    """Read what is left of a body, or the client is cut off before it has read the answer."""
    has_body = environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ
    # Other servers than those that end the input with the body would wait for more.
    if has_body and KEPT not in environ and environ.get("wsgi.input_terminated"):
        discard(environ["wsgi.input"])


def discard(body: IO[bytes]) -> None:
    """Read a body to its end, or as far as is reasonable."""
    left = MOST_DISCARDED
    with suppress(Exception):  # chunks that are none
        while left > 0 and (found := body.read(BLOCK)):
            left -= len(found)


def faults_of(messages: Any, path: str = "") -> Iterator[Fault]:
    """Yield a fault for each of marshmallow's messages, placed by JSON Pointer."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            # marshmallow's name for the whole, which a client may give a field too.
            whole = key == "_schema" and inner != [UNKNOWN]
            yield from faults_of(inner, path if whole else f"{path}/{_escape(str(key))}")
    elif isinstance(messages, str):
        yield {"pointer": path, "detail": messages}
    else:
        for message in messages:
            yield from faults_of(message, path)


def _escape(key: str) -> str:
    return _printable(key).replace("~", "~0").replace("/", "~1")


def _printable(name: str) -> str:
    """Return a name with its lone surrogates spelt out, which no JSON can hold."""
    return name.encode("utf-8", "backslashreplace").decode()


@cache
def _takes_query(view: Callable[..., Any]) -> bool:
    declared = getattr(view, DOCUMENTED, {}).get("arguments", {}).get("parameters", [])
    return any(parameter["in"] == "query" for parameter in declared)


def query_fault(name: str, detail: str) -> Fault:
    return {"parameter": _printable(name), "detail": detail}


def load_body(schema: ma.Schema) -> Mapping[str, Any]:
    """Return what a schema makes of the body. Raises ValidationFailed, also for what is unknown."""
    require_json(itself(request))
    data = read_json(read_body())
    try:
        return _loaded(schema, data)
    except ma.ValidationError as error:
        raise ValidationFailed(list(faults_of(error.messages))) from None


def load_query(schema: ma.Schema) -> Mapping[str, Any]:
    """Return what a schema makes of the query. Raises ValidationFailed, as for a body."""
    return _read_query(schema, itself(request).query_string)


@lru_cache(maxsize=512)
def _read_query(schema: ma.Schema, query: bytes) -> Mapping[str, Any]:
    """Read a query, which says the same whenever it comes; what is refused is not remembered."""
    # What is not UTF-8 becomes lone surrogates, which the fields refuse.
    text = query.decode(errors="surrogateescape")
    pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
    given = Counter(name for name, _ in pairs)
    if repeated := [name for name, times in given.items() if times > 1]:
        raise ValidationFailed([query_fault(name, "Given twice.") for name in repeated])
    try:
        return MappingProxyType(_loaded(schema, dict(pairs)))
    except ma.ValidationError as error:
        told = ((fault["pointer"][1:], fault["detail"]) for fault in faults_of(error.messages))
        raise ValidationFailed([query_fault(name, detail) for name, detail in told]) from None


def _loaded(schema: ma.Schema, data: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = schema.load(data, unknown=ma.RAISE)
    return loaded


def refuse_undeclared_query() -> None:
    """Raise ValidationFailed where a query came to a route that takes none."""
    view = current_app.view_functions[request.endpoint or ""]
    if not _takes_query(view) and request.args:
        raise ValidationFailed([query_fault(name, "Unknown parameter.") for name in request.args])
