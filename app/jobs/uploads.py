"""Uploads of files, as the raw body or as a part of a form."""

import hashlib
from contextlib import ExitStack
from functools import wraps
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from flask import current_app, request
from multipart import MultipartParser, MultipartPart, ParserLimitReached
from werkzeug.http import parse_options_header

from app.api.idempotency import use_body_digest
from app.api.operation_meta import View, annotate
from app.api.parsing import READ_SIZE, stream_to_file
from app.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from app.jobs.formats.base import field_error
from app.jobs.formats.detection import detect
from app.jobs.formats.json_tool import MAX_START_LENGTH
from app.jobs.models import FileFormat
from app.jobs.schemas import EXTENSIONS, FORM, MEDIA_TYPES

MAX_MEMORY = 1024 * 1024
MAX_PARTS = 10
MAX_FIELD_LENGTH = 1000
# The byte order mark of the file decides between UTF-8 and UTF-16.
CHARSETS = frozenset({"", "utf-8", "utf8", "utf-16"})
BY_MEDIA_TYPE = {media_type: name for name, media_type in MEDIA_TYPES.items()}
BY_EXTENSION = {extension: name for name, extension in EXTENSIONS.items()}
UNSUPPORTED = (
    "The file must be application/json, text/csv or text/calendar, in UTF-8 or UTF-16, and not"
    " compressed. Send it as the body, or as the part file of multipart/form-data."
)


def uploaded_file(view: View) -> View:
    """Pass the query, the format and the uploaded file to a view."""

    @wraps(view)
    def wrapper(actor: Any, query: dict[str, Any], **kwargs: Any) -> Any:
        request.max_content_length = current_app.config["MAX_UPLOAD_LENGTH"]
        with ExitStack() as stack:
            name, file = _read_file(query.get("format"), stack)
            # The bytes of a form are no fingerprint: its boundary is random.
            use_body_digest(_digest(name, file))
            return view(actor, query, name, file, **kwargs)

    return annotate(wrapper, BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed)


def _read_file(name: str | None, stack: ExitStack) -> tuple[FileFormat, IO[bytes]]:
    """Read the body; ``name`` is the format in the query."""
    if request.mimetype != FORM and request.mimetype not in BY_MEDIA_TYPE:
        raise UnsupportedMediaType(UNSUPPORTED)
    _require_plain_text(request.mimetype_params.get("charset", ""))
    body = stack.enter_context(SpooledTemporaryFile(MAX_MEMORY))  # noqa: SIM115  # the stack closes it
    stream_to_file(request, body)
    if request.mimetype != FORM:
        return _format(name, BY_MEDIA_TYPE[request.mimetype], body), body
    form_name, part = _parse_form(body, stack)
    name = name or form_name
    if name is not None and name not in set(FileFormat):
        detail = f"Must be one of: {', '.join(FileFormat)}."
        raise ValidationFailed([field_error(detail, "format")])
    return _format(name, _format_of_part(part), part.file), part.file


def _require_plain_text(charset: str) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity" or charset.lower() not in CHARSETS:
        raise UnsupportedMediaType(UNSUPPORTED)


def _parse_form(body: IO[bytes], stack: ExitStack) -> tuple[str | None, MultipartPart]:
    """Return the field ``format`` of a form, if any, and the part ``file``."""
    parts: dict[str, list[MultipartPart]] = {"file": [], "format": []}
    boundary = request.mimetype_params.get("boundary", "")
    try:
        for part in MultipartParser(body, boundary, part_limit=MAX_PARTS, spool_limit=MAX_MEMORY):
            stack.callback(part.close)
            parts.setdefault(part.name, []).append(part)
        [*_, name] = [None, *(_text(part) for part in parts["format"] if part.filename is None)]
    except ParserLimitReached:
        raise PayloadTooLarge("The form has too many or too large parts.") from None
    except ValueError:
        raise BadRequest("The form can't be parsed.") from None
    errors = [field_error("Unknown field.", name) for name in parts.keys() - {"file", "format"}]
    files = parts["file"]
    is_valid = all(part.filename is not None for part in files) and all(
        part.filename is None for part in parts["format"]
    )
    if len(files) != 1 or not is_valid:
        errors.append(field_error("There must be one file.", "file"))
    if errors:
        raise ValidationFailed(errors)
    return name, files[0]


def _text(part: MultipartPart) -> str:
    """Return the value of a field. Raises PayloadTooLarge, or ValueError if it is not UTF-8."""
    if part.size > MAX_FIELD_LENGTH:
        raise PayloadTooLarge("The form has too many or too large parts.")
    value: bytes = part.raw
    return value.decode()


def _format_of_part(part: MultipartPart) -> FileFormat | None:
    media_type, options = parse_options_header(part.headers.get("Content-Type"))
    _require_plain_text(options.get("charset", ""))
    extension = (part.filename or "").rpartition(".")[2].lower()
    return BY_MEDIA_TYPE.get(media_type) or BY_EXTENSION.get(extension)


def _format(name: str | None, detected: FileFormat | None, file: IO[bytes]) -> FileFormat:
    if name is not None:
        return FileFormat(name)
    if detected is None:
        raise UnsupportedMediaType(UNSUPPORTED)
    start = file.read(MAX_START_LENGTH)
    file.seek(0)
    return detect(detected, start)


def _digest(name: FileFormat, file: IO[bytes]) -> bytes:
    digest = hashlib.sha256(name.encode())
    while block := file.read(READ_SIZE):
        digest.update(block)
    file.seek(0)
    return digest.digest()
