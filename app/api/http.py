"""HTTP semantics (RFC 9110): JSON, content negotiation, entity tags, links."""

import hashlib
import re
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, current_app, request, url_for
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from app.api.operation_meta import get_meta
from app.api.parsing import JSON, UNKNOWN_PARAMETER, query_error
from app.db.pagination import Page
from app.db.types import ExpectedVersions
from app.errors import BadRequest, NotAcceptable, ValidationFailed
from app.request_context import request_context

# For responses that no cache may store.
NO_STORE = {"Cache-Control": "no-store"}
# RFC 9110, 5.6.1: empty elements of a list are allowed.
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS_RE = re.compile(rf"[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_VERSION_TAG_RE = re.compile(r'"([1-9][0-9]{0,18})"')


class ORJSONProvider(DefaultJSONProvider):
    """Serializes responses with orjson, which is 150 µs faster for 50 tasks."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a JSON response of the only argument."""
        body = orjson.dumps(args[0] if args else kwargs, option=orjson.OPT_UTC_Z)
        return Response(body, mimetype=self.mimetype)


def require_acceptable(media_type: str = JSON) -> None:
    """Raise NotAcceptable if ``Accept`` excludes the media type of the response."""
    accept = request.headers.get("Accept")
    if not accept or accept in {"*/*", media_type}:
        return
    ranges = parse_accept_header(accept, MIMEAccept)
    named = [quality for name, quality in ranges if name.partition(";")[0].lower() == media_type]
    if not max(named or [ranges[media_type]]):
        raise NotAcceptable(f"The response is {media_type}, which Accept excludes.")


def require_declared_query() -> None:
    """Raise ValidationFailed if an operation without query parameters gets some."""
    view = current_app.view_functions[request.endpoint or ""]
    if not get_meta(view).accepts_query and request.args:
        raise ValidationFailed([query_error(name, UNKNOWN_PARAMETER) for name in request.args])


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
    header = request.headers.get("If-None-Match", "")
    return header.strip() == "*" or etag in re.findall(r'"[^"]*"', header)


def not_modified_response(etag: str) -> Response:
    """Return 304 without a body."""
    response = Response(status=304, headers={"ETag": etag})
    del response.headers["Content-Type"]
    return response


def location(endpoint: str, **values: Any) -> dict[str, str]:
    """Return the ``Location`` of a new resource: with PUBLIC_URL, never with a client's Host."""
    path = url_for(endpoint, _external=False, **values)
    return {"Location": f"{current_app.config['PUBLIC_URL']}{path}"}


def link_header(page: Page) -> dict[str, str]:
    """Return the ``Link`` header to the next page, if there is one (RFC 8288)."""
    if page.next_cursor is None:
        return {}
    params = [pair for pair in request.args.items(multi=True) if pair[0] != "cursor"]
    query = urlencode([*params, ("cursor", page.next_cursor)])
    url = f"{current_app.config['PUBLIC_URL']}{request.path}?{query}"
    return {"Link": f'<{url}>; rel="next"'}
