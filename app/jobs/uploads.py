"""Files as they come over HTTP: raw, or as a part of a form."""

import csv
import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from flask import current_app, request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from app.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from app.http.body import BLOCK, spool_body
from app.http.idempotency import represent_body
from app.http.promises import View, promise
from app.jobs.formats.rows import BOM, fault
from app.jobs.formats.todoist_file import is_todoist
from app.jobs.models import Format
from app.jobs.schemas import FORM

KEPT_IN_MEMORY = 1024 * 1024
BY_MEDIA_TYPE = {
    "application/json": Format.json,
    "text/csv": Format.csv,
    "text/calendar": Format.icalendar,
}
BY_ENDING = {"json": Format.json, "csv": Format.csv, "ics": Format.icalendar}
UNSUPPORTED = (
    "The file must be application/json, text/csv or text/calendar, in UTF-8 and not compressed;"
    " alone, or as the part file of multipart/form-data."
)
# How much of a file is looked at to tell whose CSV it is.
LONGEST_HEADER = 1000

Spool = Callable[..., IO[bytes]]


def takes_file(view: View) -> View:
    """Hand a view the file that was sent, and its format, once it has come whole."""

    @wraps(view)
    def taking(actor: Any, query: dict[str, Any], **kwargs: Any) -> Any:
        request.max_content_length = current_app.config["MAX_UPLOAD_LENGTH"]
        with ExitStack() as open_files:

            def spool(*_: Any, **__: Any) -> IO[bytes]:
                return open_files.enter_context(SpooledTemporaryFile(KEPT_IN_MEMORY))

            name, file = _read(query.get("format"), spool)
            represent_body(_digest(name, file))
            return view(actor, name, file, **kwargs)

    return promise(taking, BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed)


def _read(asked: str | None, spool: Spool) -> tuple[Format, IO[bytes]]:
    """Return the file of the request at hand, and the format that it is sent or asked as."""
    if request.mimetype != FORM and request.mimetype not in BY_MEDIA_TYPE:
        raise UnsupportedMediaType(UNSUPPORTED)
    _require_plain(request.mimetype_params.get("charset", ""))
    body = spool()
    spool_body(request, body)
    if request.mimetype != FORM:
        return _chosen(asked, BY_MEDIA_TYPE[request.mimetype], body), body
    form, part = _part(body, spool)
    asked = asked or form.get("format")
    if asked is not None and asked not in set(Format):
        told = f"Must be one of: {', '.join(Format)}."
        raise ValidationFailed([fault(told, "format")])
    return _chosen(asked, _told(part), part.stream), part.stream


def _require_plain(charset: str) -> None:
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity" or charset.lower() not in {"", "utf-8", "utf8"}:
        raise UnsupportedMediaType(UNSUPPORTED)


def _part(body: IO[bytes], spool: Spool) -> tuple[MultiDict[str, str], FileStorage]:
    """Return the fields of a form, and its only file."""
    parser = FormDataParser(spool, max_form_memory_size=BLOCK, max_form_parts=10, silent=False)
    try:
        _, form, files = parser.parse(
            body, request.mimetype, request.content_length, request.mimetype_params
        )
    except ValueError:
        raise BadRequest("The form can't be read.") from None
    faults = [fault("Unknown field.", name) for name in {*form, *files} - {"file", "format"}]
    parts = files.getlist("file")
    if len(parts) != 1 or "file" in form or "format" in files:
        faults.append(fault("There must be one file.", "file"))
    if faults:
        raise ValidationFailed(faults)
    return form, parts[0]


def _told(part: FileStorage) -> Format | None:
    """Return the format that a part says it is in, by its own type or the name of its file."""
    media_type, options = parse_options_header(part.content_type)
    _require_plain(options.get("charset", ""))
    ending = (part.filename or "").rpartition(".")[2].lower()
    return BY_MEDIA_TYPE.get(media_type) or BY_ENDING.get(ending)


def _chosen(asked: str | None, told: Format | None, file: IO[bytes]) -> Format:
    if asked is not None:
        return Format(asked)
    if told is None:
        raise UnsupportedMediaType(UNSUPPORTED)
    return Format.todoist if told == Format.csv and _is_todoist(file) else told


def _is_todoist(file: IO[bytes]) -> bool:
    start = file.readline(LONGEST_HEADER).removeprefix(BOM).decode(errors="replace")
    file.seek(0)
    return any(map(is_todoist, islice(csv.reader([start]), 1)))


def _digest(name: Format, file: IO[bytes]) -> bytes:
    """Return what a file is known by, however a form was cut."""
    told = hashlib.sha256(name.encode())
    while block := file.read(BLOCK):
        told.update(block)
    file.seek(0)
    return told.digest()
