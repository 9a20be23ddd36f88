"""flask-smorest's blueprint with strict parsing, entity tags and problems; URL converters."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import flask_smorest
from apispec import APISpec
from flask import Flask, Response, request
from marshmallow import Schema
from werkzeug.routing import BaseConverter

from app import errors
from app.api import http
from app.api.operation_meta import View, annotate
from app.api.parsing import JSON, StrictParser
from app.db import connections
from app.db.pagination import Page
from app.db.types import MAX_ID
from app.request_context import request_context

ROW_ID = re.compile(r"[1-9][0-9]{0,18}")
TOKEN_ID = re.compile(r"[0-9a-f]{32}")

COMMON_PROBLEMS = (
    errors.BadRequest,
    errors.NotAcceptable,
    errors.ValidationFailed,
    errors.RateLimited,
    errors.InternalError,
    errors.Unavailable,
)
BODY_PROBLEMS = (
    errors.MalformedJson,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.Conflict,
)

_log = logging.getLogger(__name__)


class Blueprint(flask_smorest.Blueprint):
    """Adds headers to what flask-smorest renders, and records what OpenAPI needs."""

    ARGUMENTS_PARSER = StrictParser()

    def arguments(
        self, schema: Schema | type[Schema], *, location: str = "json", **kwargs: Any
    ) -> Callable[[View], View]:
        """Pass the deserialized body or query to the view. Schemas are instantiated once."""
        schema = schema() if isinstance(schema, type) else schema
        problems: list[type[errors.Problem]] = [*BODY_PROBLEMS] if location == "json" else []
        if "cursor" in schema.fields:
            problems.append(errors.InvalidCursor)
        changes = {"accepts_query": True} if location == "query" else {}
        decorate = super().arguments(schema, location=location, **kwargs)
        return lambda view: annotate(decorate(view), *problems, **changes)

    def response(
        self,
        status_code: int,
        schema: Schema | type[Schema] | None = None,
        *,
        content_type: str = JSON,
        has_etag: bool = False,
        is_attachment: bool = False,
        other_types: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Callable[[View], View]:
        """Serialize what the view returns: a model, a row, a page or nothing.

        A view may also return a tuple with headers, or a ``Response``; ``has_etag`` and
        ``is_attachment`` then describe it. If it may have one of ``other_types``, given with an
        example, the view itself checks ``Accept``.
        """
        schema = schema() if isinstance(schema, type) else schema
        decorate = super().response(status_code, schema, content_type=content_type, **kwargs)

        def decorator(view: View) -> View:
            rendered = decorate(_with_headers(view, schema))

            @wraps(rendered)
            def checked(*args: Any, **kwargs: Any) -> Response:
                if not other_types:
                    http.require_acceptable(content_type)
                if request.query_string:
                    http.require_declared_query()
                response: Response = rendered(*args, **kwargs)
                response = _conditional(response, schema)
                return _started(response) if response.is_streamed else response

            return annotate(
                checked,
                *COMMON_PROBLEMS,
                status=status_code,
                schema=schema,
                has_etag=has_etag,
                is_attachment=is_attachment,
                other_types=other_types or {},
            )

        return decorator

    @staticmethod
    def alt_response(*problems: type[errors.Problem]) -> Callable[[View], View]:
        """Document problems that the service may raise, beyond those of the other decorators."""
        return lambda view: annotate(view, *problems)

    def register_views_in_doc(self, *_: Any, **__: Any) -> None:
        """Do nothing: the document is built when it is first requested."""

    def add_to_spec(self, api: flask_smorest.Api, app: Flask, spec: APISpec) -> None:
        """Add the operations to the document."""
        super().register_views_in_doc(api, app, spec, name=self.name, parameters=None)
        spec.tag({"name": self.name, "description": self.description})


def _with_headers(view: View, schema: Schema | None) -> View:
    """Add the headers that follow from what a view returns."""
    is_versioned = schema is not None and "version" in schema.fields

    @wraps(view)
    def with_headers(*args: Any, **kwargs: Any) -> Any:
        result = view(*args, **kwargs)
        if isinstance(result, Response):
            return result
        value, headers = result if isinstance(result, tuple) else (result, {})
        if isinstance(value, Page):
            headers = headers | http.link_header(value)
        elif is_versioned:
            version = value["version"] if isinstance(value, Mapping) else value.version
            headers = headers | {"ETag": http.make_etag(version)}
        return value, headers

    return with_headers


def _conditional(response: Response, schema: Schema | None) -> Response:
    """Return 304 if the client has the representation, and no body where there is none."""
    if schema is None:
        response.set_data(b"")
        del response.headers["Content-Type"]
        return response
    if "next_cursor" in schema.fields:
        response.headers["ETag"] = http.make_body_etag(response.get_data())
    etag = response.headers.get("ETag")
    if etag and request.method in {"GET", "HEAD"} and http.if_none_match_contains(etag):
        return http.not_modified_response(etag)
    return response


def _started(response: Response) -> Response:
    """Read the first part of a streamed body, while a failure can still become a problem."""
    # The body is read from connections of its own.
    connections.release()
    parts = response.iter_encoded()
    first = next(parts, b"")
    if not first and response.content_length:
        raise errors.NotFound  # deleted since its length was read
    response.response = _resume(first, parts, request_context().request_id)
    return response


def _resume(first: bytes, parts: Iterator[bytes], request_id: str | None) -> Iterator[bytes]:
    yield first
    try:
        yield from parts
    except Exception:
        # The client sees that the body is shorter than its Content-Length.
        _log.exception("A response was cut off. request_id=%s", request_id)
        raise


class RowIdConverter(BaseConverter):
    """An integer id without leading zeros, at most MAX_ID; otherwise 0, an id that no row has.

    The router would answer 404 to a malformed id before authentication; an unknown id is 404 after.
    """

    regex = r"[0-9]+"

    def to_python(self, value: str) -> int:
        number = int(value) if ROW_ID.fullmatch(value) else 0
        return number if number <= MAX_ID else 0


class TokenIdConverter(BaseConverter):
    """A random id of 32 hexadecimal digits; otherwise an empty string."""

    regex = r"[0-9A-Za-z_-]+"

    def to_python(self, value: str) -> str:
        return value if TOKEN_ID.fullmatch(value) else ""


def init_app(app: Flask) -> None:
    """Add the converters, and match URLs strictly: no redirects, which would drop a POST body."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"row_id": RowIdConverter, "token_id": TokenIdConverter}
