"""How what a view returns becomes an answer."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import orjson
from flask import Response, current_app, request
from marshmallow import Schema
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_accept_header

from app.errors import NotAcceptable
from app.http.conditional import not_modified, tag_of
from app.http.context import itself
from app.http.output import OutputSchema, Row
from app.http.pages import Page
from app.origin import origin

JSON = "application/json"
# For what no cache may keep, not even the client's own.
NO_STORE = {"Cache-Control": "no-store"}


class Answer(Response):
    """A text that goes out as it is, with its headers: to look through them costs as a query does.

    It holds nothing that would have to be closed.
    """

    def get_app_iter(self, environ: dict[str, Any]) -> Iterable[bytes]:
        return () if environ["REQUEST_METHOD"] == "HEAD" else self.iter_encoded()

    def get_wsgi_headers(self, environ: dict[str, Any]) -> Headers:
        if self.headers.get("Location", "").isascii():
            return self.headers
        return super().get_wsgi_headers(environ)


class Text(NamedTuple):
    """What is told of a resource or a page: its body, its entity tag, and what leads on."""

    body: bytes
    tag: str | None
    link: str | None = None


def require_acceptable(media_type: str = JSON) -> None:
    """Raise NotAcceptable where ``Accept`` rules out what the answer is."""
    accept = itself(request).environ.get("HTTP_ACCEPT")
    if accept and not _takes(accept, media_type):
        raise NotAcceptable(f"The answer is {media_type}, which Accept rules out.")


@lru_cache(maxsize=256)
def _takes(accept: str, media_type: str) -> bool:
    ranges = parse_accept_header(accept, MIMEAccept)
    named = [weight for media, weight in ranges if media.partition(";")[0].lower() == media_type]
    return bool(max(named or [ranges[media_type]]))


def render(value: Any, schema: Schema | None, status: int) -> Response:
    """Return the answer to a request: an object, row or page shown by ``schema``, or nothing."""
    if schema is None:
        return without_body(status)
    if isinstance(value, Page):
        return tell(page_text(value))
    if isinstance(value, dict):
        return _resource(value, status)
    if isinstance(schema, OutputSchema):
        return _resource(schema.from_model(value), status)
    return Response(_json(schema.dump(value)), status, content_type=JSON)


def without_body(status: int) -> Response:
    response = Response(status=status)
    del response.headers["Content-Type"]
    return response


def page_text(page: Page, tag: str | None = None) -> Text:
    """Return what is told of a page that ``tag`` names, or else its body."""
    body = _json({"data": page.rows, "next_cursor": page.next_cursor})
    return Text(body, tag or _tag_of_page(body), _link(page))


def tell(text: Text, status: int = 200) -> Response:
    """Answer with a text, or that the client has it."""
    if text.tag is not None and not_modified(text.tag):
        return unchanged(text.tag)
    response = Answer(text.body, status, content_type=JSON)
    if text.tag is not None:
        response.headers["ETag"] = text.tag
    if text.link is not None:
        response.headers["Link"] = text.link
    return response


def unchanged(tag: str) -> Response:
    """Answer that the client has what ``tag`` names."""
    response = without_body(304)
    response.headers["ETag"] = tag
    return response


def _json(data: Any) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_UTC_Z)


def _resource(row: Row, status: int) -> Response:
    tag = tag_of(row["version"]) if "version" in row else None
    response = tell(Text(_json(row), tag), status)
    if status in {201, 202} and "url" in row:
        response.headers["Location"] = row["url"]
    return response


def _link(page: Page) -> str | None:
    if page.next_cursor is None:
        return None
    # A cursor is of letters that a query has as they are.
    asked, config = itself(request), itself(current_app).config
    query = f"{_before_cursor(asked.query_string)}cursor={page.next_cursor}"
    address = f"{config['PUBLIC_URL']}{asked.path}?{query}"
    return f'<{address}>; rel="next"'


@lru_cache(maxsize=512)
def _before_cursor(query: bytes) -> str:
    """Return what a query asks beside its cursor, for a cursor to follow."""
    pairs = parse_qsl(query.decode(), keep_blank_values=True)
    return "".join(f"{urlencode([pair])}&" for pair in pairs if pair[0] != "cursor")


def _tag_of_page(body: bytes) -> str:
    # Two accounts' lists are two things, even while there is nothing in either.
    account = str(origin().user_id).encode()
    return f'"{hashlib.blake2b(body, digest_size=12, key=account).hexdigest()}"'
