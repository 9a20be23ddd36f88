"""The blueprint of every room: flask-smorest's, rendering answers our way."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import flask_smorest
from apispec import APISpec
from flask import Flask, Response, request
from marshmallow import Schema

from app.errors import (
    BadRequest,
    Conflict,
    InternalError,
    InvalidCursor,
    MalformedJson,
    NotAcceptable,
    PayloadTooLarge,
    Problem,
    RateLimited,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
)
from app.http.answers import JSON, render, require_acceptable
from app.http.body import load_body, load_query, refuse_undeclared_query
from app.http.context import itself
from app.http.idempotency import keep_answer
from app.http.promises import DOCUMENTED, View, promise

# Whatever a route does, its request may be one that HTTP or the rates do not allow.
COMMON_PROBLEMS = (
    BadRequest,
    NotAcceptable,
    ValidationFailed,
    RateLimited,
    InternalError,
    Unavailable,
)
BODY_PROBLEMS = (MalformedJson, PayloadTooLarge, UnsupportedMediaType, Conflict)


class Blueprint(flask_smorest.Blueprint):
    """Declares what a route takes and gives; schemas are instances, made once.

    flask-smorest documents that. What it would read and answer by itself is done here.
    """

    def arguments(
        self, schema: Schema, *, location: str = "json", **documented: Any
    ) -> Callable[[View], View]:
        """Hand the view what ``schema`` makes of the body or the query."""
        document = super().arguments(schema, location=location, **documented)
        load = load_query if location == "query" else load_body
        problems: list[type[Problem]] = [*BODY_PROBLEMS] if location == "json" else []
        if "cursor" in schema.fields:
            problems.append(InvalidCursor)

        def decorator(view: View) -> View:
            @wraps(view)
            def loading(*args: Any, **kwargs: Any) -> Any:
                return view(*args, load(schema), **kwargs)

            return promise(_documented(loading, document), *problems)

        return decorator

    @staticmethod
    def refuses(*problems: type[Problem]) -> Callable[[View], View]:
        """Promise what the service may refuse with, beyond what the other decorators say."""
        return lambda view: promise(view, *problems)

    def response(
        self,
        status_code: int,
        schema: Schema | None = None,
        *,
        tagged: bool = False,
        attached: bool = False,
        content_type: str = JSON,
        other_types: Mapping[str, str] | None = None,
        **documented: Any,
    ) -> Callable[[View], View]:
        """Answer with ``schema`` of what the view returns: an object, a row, a page or nothing.

        Of a tuple, the second is a mapping of headers to add. A view may also make the answer
        itself; ``tagged`` says that it then has an entity tag, ``attached`` that it is to be saved.
        Where it may be of ``other_types`` too, each given with an example, the view sees to what
        the client accepts.
        """
        document = super().response(status_code, schema, content_type=content_type, **documented)

        def decorator(view: View) -> View:
            @wraps(view)
            def rendered(*args: Any, **kwargs: Any) -> Response:
                if not other_types:
                    require_acceptable(content_type)
                if itself(request).query_string:
                    refuse_undeclared_query()
                keep_answer(lambda result: render(result, schema, status_code))
                result = view(*args, **kwargs)
                if isinstance(result, Response):
                    return result
                value, headers = result if isinstance(result, tuple) else (result, {})
                response = render(value, schema, status_code)
                response.headers.update(headers)
                return response

            told: dict[str, Any] = {"status": status_code, "schema": schema}
            told |= {"tagged": tagged, "attached": attached, "other_types": other_types or {}}
            return promise(_documented(rendered, document), *COMMON_PROBLEMS, **told)

        return decorator

    def register_views_in_doc(self, *_: Any, **__: Any) -> None:
        """Do nothing yet: the document is made when it is first asked for."""

    def document(self, api: flask_smorest.Api, app: Flask, spec: APISpec) -> None:
        """Add the routes to the document."""
        super().register_views_in_doc(api, app, spec, name=self.name, parameters=None)
        spec.tag({"name": self.name, "description": self.description})


def _documented(view: View, document: Callable[[View], View]) -> View:
    """Return a view with the note that flask-smorest makes on what it would put around it."""
    vars(view)[DOCUMENTED] = vars(document(view))[DOCUMENTED]
    return view
