"""Entity tags and conditional requests (RFC 9110, section 13)."""

import hashlib
import re

from flask import Response, request

from app.db.types import ExpectedVersions
from app.errors import BadRequest
from app.request_context import request_context

# RFC 9110, 5.6.1: empty elements of a list are allowed.
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS_RE = re.compile(rf"[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_VERSION_TAG_RE = re.compile(r'"([1-9][0-9]{0,18})"')


def make_etag(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


def make_body_etag(body: bytes) -> str:
    """Return an entity tag of a list: a hash of its body, different for each user."""
    key = str(request_context().user_id).encode()
    return f'"{hashlib.blake2b(body, digest_size=12, key=key).hexdigest()}"'


def if_match() -> ExpectedVersions:
    """Return the versions that ``If-Match`` names, compared strongly: a weak tag names none.

    Raises BadRequest for a malformed header.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    if not _TAGS_RE.fullmatch(header):
        raise BadRequest("If-Match must be * or a list of quoted entity tags.")
    tags = re.findall(_TAG, header)
    return [int(match[1]) for match in map(_VERSION_TAG_RE.fullmatch, tags) if match]


def if_none_match_contains(etag: str) -> bool:
    """Return whether the client has the representation of ``etag``, compared weakly."""
    header = request.headers.get("If-None-Match")
    if header is None or request.method not in {"GET", "HEAD"}:
        return False
    return header.strip() == "*" or etag in re.findall(r'"[^"]*"', header)


def not_modified_response(etag: str) -> Response:
    """Return 304 without a body."""
    response = Response(status=304, headers={"ETag": etag})
    del response.headers["Content-Type"]
    return response
