"""Conditional requests: versions as entity tags (RFC 9110, 13)."""

import re
from collections.abc import Collection

from flask import request

from app.errors import BadRequest
from app.http.context import itself

_tag = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# Empty elements of a list are taken, as RFC 9110, 5.6.1, has it.
_tags = re.compile(rf"[\s,]*{_tag}(?:\s*,[\s,]*{_tag})*[\s,]*")
_strong_version = re.compile(r'"([1-9][0-9]{0,18})"')

Versions = Collection[int] | None


def tag_of(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


def if_match() -> Versions:
    """Return the versions that the client will have changed, or None for any.

    Tags are compared strongly, so a weak one is no version. Raises BadRequest for a header that
    is malformed.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    if not _tags.fullmatch(header):
        raise BadRequest("If-Match must be * or a list of quoted entity tags.")
    tags = re.findall(_tag, header)
    return [int(match[1]) for match in map(_strong_version.fullmatch, tags) if match]


def not_modified(tag: str) -> bool:
    """Tell whether the client already has what ``tag`` names; compared weakly."""
    asked = itself(request)
    held = asked.environ.get("HTTP_IF_NONE_MATCH")
    if held is None or asked.method not in {"GET", "HEAD"}:
        return False
    return held.strip() == "*" or is_held(tag)


def is_held(tag: str) -> bool:
    """Tell whether the client names ``tag`` itself as what it has, not whatever there is."""
    held = itself(request).environ.get("HTTP_IF_NONE_MATCH")
    return held is not None and tag in re.findall(r'"[^"]*"', held)
