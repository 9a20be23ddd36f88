"""Uploads of files, as the raw body or as a part of a form."""

import csv
import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from flask import current_app, request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from app.api.idempotency import use_body_digest
from app.api.operation_meta import View, annotate
from app.api.parsing import READ_SIZE, stream_to_file
from app.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from app.jobs.formats.base import BOM, field_error
from app.jobs.formats.todoist_file import is_todoist
from app.jobs.models import FileFormat
from app.jobs.schemas import EXTENSIONS, FORM, MEDIA_TYPES

MAX_MEMORY = 1024 * 1024
MAX_HEADER_LENGTH = 1000
BY_MEDIA_TYPE = {media_type: name for name, media_type in MEDIA_TYPES.items()}
BY_EXTENSION = {extension: name for name, extension in EXTENSIONS.items()}
UNSUPPORTED = (
    "The file must be application/json, text/csv or text/calendar, in UTF-8 and not compressed."
    " Send it as the body, or as the part file of multipart/form-data."
)

OpenFile = Callable[..., IO[bytes]]


def uploaded_file(view: View) -> View:
    """Pass the uploaded file and its format to a view."""

    @wraps(view)
    def wrapper(actor: Any, query: dict[str, Any], **kwargs: Any) -> Any:
        request.max_content_length = current_app.config["MAX_UPLOAD_LENGTH"]
        with ExitStack() as stack:

            def open_file(*_: Any, **__: Any) -> IO[bytes]:
                return stack.enter_context(SpooledTemporaryFile(MAX_MEMORY))

            name, file = _read_file(query.get("format"), open_file)
            # The bytes of a form are no fingerprint: its boundary is random.
            use_body_digest(_digest(name, file))
            return view(actor, name, file, **kwargs)

    return annotate(wrapper, BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed)


def _read_file(name: str | None, open_file: OpenFile) -> tuple[FileFormat, IO[bytes]]:
    """Read the body; ``name`` is the format in the query."""
    if request.mimetype != FORM and request.mimetype not in BY_MEDIA_TYPE:
        raise UnsupportedMediaType(UNSUPPORTED)
    _require_plain_utf8(request.mimetype_params.get("charset", ""))
    body = open_file()
    stream_to_file(request, body)
    if request.mimetype != FORM:
        return _format(name, BY_MEDIA_TYPE[request.mimetype], body), body
    form, part = _parse_form(body, open_file)
    name = name or form.get("format")
    if name is not None and name not in set(FileFormat):
        detail = f"Must be one of: {', '.join(FileFormat)}."
        raise ValidationFailed([field_error(detail, "format")])
    return _format(name, _format_of_part(part), part.stream), part.stream


def _require_plain_utf8(charset: str) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity" or charset.lower() not in {"", "utf-8", "utf8"}:
        raise UnsupportedMediaType(UNSUPPORTED)


def _parse_form(body: IO[bytes], open_file: OpenFile) -> tuple[MultiDict[str, str], FileStorage]:
    """Return the fields of a form, and its file."""
    parser = FormDataParser(
        open_file, max_form_memory_size=READ_SIZE, max_form_parts=10, silent=False
    )
    try:
        _, form, files = parser.parse(
            body, request.mimetype, request.content_length, request.mimetype_params
        )
    except ValueError:
        raise BadRequest("The form can't be parsed.") from None
    unknown = {*form, *files} - {"file", "format"}
    errors = [field_error("Unknown field.", name) for name in unknown]
    parts = files.getlist("file")
    if len(parts) != 1 or "file" in form or "format" in files:
        errors.append(field_error("There must be one file.", "file"))
    if errors:
        raise ValidationFailed(errors)
    return form, parts[0]


def _format_of_part(part: FileStorage) -> FileFormat | None:
    media_type, options = parse_options_header(part.content_type)
    _require_plain_utf8(options.get("charset", ""))
    extension = (part.filename or "").rpartition(".")[2].lower()
    return BY_MEDIA_TYPE.get(media_type) or BY_EXTENSION.get(extension)


def _format(name: str | None, detected: FileFormat | None, file: IO[bytes]) -> FileFormat:
    if name is not None:
        return FileFormat(name)
    if detected is None:
        raise UnsupportedMediaType(UNSUPPORTED)
    if detected == FileFormat.csv and _has_todoist_header(file):
        return FileFormat.todoist
    return detected


def _has_todoist_header(file: IO[bytes]) -> bool:
    line = file.readline(MAX_HEADER_LENGTH).removeprefix(BOM).decode(errors="replace")
    file.seek(0)
    return is_todoist(next(csv.reader([line]), []))


def _digest(name: FileFormat, file: IO[bytes]) -> bytes:
    digest = hashlib.sha256(name.encode())
    while block := file.read(READ_SIZE):
        digest.update(block)
    file.seek(0)
    return digest.digest()
