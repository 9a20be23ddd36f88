"""How what a view returns becomes an answer."""

import hashlib
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, current_app, request
from marshmallow import Schema

from app.errors import NotAcceptable
from app.http.conditional import not_modified, tag_of
from app.http.output import OutputSchema
from app.http.pages import Page
from app.origin import origin

JSON = "application/json"
# For what no cache may keep, not even the client's own.
NO_STORE = {"Cache-Control": "no-store"}


def require_acceptable(media_type: str = JSON) -> None:
    """Raise NotAcceptable where ``Accept`` rules out what the answer is."""
    accept = request.headers.get("Accept")
    if not accept or accept == "*/*":
        return
    ranges = request.accept_mimetypes
    named = [weight for media, weight in ranges if media.partition(";")[0].lower() == media_type]
    if not max(named or [ranges[media_type]]):
        raise NotAcceptable(f"The answer is {media_type}, which Accept rules out.")


def render(value: Any, schema: Schema | None, status: int) -> Response:
    """Return the answer to a request: an object, row or page shown by ``schema``, or nothing."""
    if schema is None:
        return without_body(status)
    if isinstance(value, Page):
        return _page(value, status)
    if isinstance(value, dict):
        return _resource(value, status)
    if isinstance(schema, OutputSchema):
        return _resource(schema.from_model(value), status)
    return _json(schema.dump(value), status)


def without_body(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def _json(data: Any, status: int) -> Response:
    body = orjson.dumps(data, option=orjson.OPT_UTC_Z)
    return Response(body, status=status, content_type=JSON)


def _resource(body: dict[str, Any], status: int) -> Response:
    tag = tag_of(body["version"]) if "version" in body else None
    unchanged = tag is not None and not_modified(tag)
    response = without_body(304) if unchanged else _json(body, status)
    if tag:
        response.headers["ETag"] = tag
    if status == 201 and "url" in body:
        response.headers["Location"] = body["url"]
    return response


def _page(page: Page, status: int) -> Response:
    response = _json({"data": page.rows, "next_cursor": page.next_cursor}, status)
    tag = _tag_of_page(response.get_data())
    if not_modified(tag):
        response = without_body(304)
    response.headers["ETag"] = tag
    if page.next_cursor:
        query = urlencode(request.args.to_dict() | {"cursor": page.next_cursor})
        address = f"{current_app.config['PUBLIC_URL']}{request.path}?{query}"
        response.headers["Link"] = f'<{address}>; rel="next"'
    return response


def _tag_of_page(body: bytes) -> str:
    # Two accounts' lists are two things, even while there is nothing in either.
    account = str(origin().user_id).encode()
    return f'"{hashlib.blake2b(body, digest_size=12, key=account).hexdigest()}"'
