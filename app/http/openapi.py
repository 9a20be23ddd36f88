"""The OpenAPI document: flask-smorest's, and what the decorators of the views promise."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

from apispec import APISpec, BasePlugin
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import Schema
from werkzeug.routing import Rule

from app.database import BIGGEST_ID
from app.errors import BadRequest, NotFound, Problem, StaleVersion, kinds
from app.extensions import api
from app.http.blueprint import Blueprint
from app.http.body import MERGE_PATCH
from app.http.converters import TOKEN_ID, RowIdConverter, TokenIdConverter
from app.http.jsonschema import Converter, example_of
from app.http.limits import HEADERS
from app.http.output import PROBLEM
from app.http.promises import Promise, promised

Document = dict[str, Any]
PROBLEM_JSON = "application/problem+json"

PARTS = ("openapi", "info", "servers", "tags", "paths", "components")
OPERATION_PARTS = (
    "operationId",
    "summary",
    "description",
    "tags",
    "security",
    "x-required-scope",
    "parameters",
    "requestBody",
    "responses",
)

DESCRIPTION = """\
Tasks, and the accounts that they belong to.

- Bodies are JSON in UTF-8. What a schema does not name is refused.
- Every refusal is a problem (RFC 9457): its `code` never changes, its `type` is a page about it.
- Lists come in pages: follow `next_cursor`, or the `Link`, until there is none.
- What has a version has an `ETag`: send it as `If-Match`, and no change of another is lost.
- A call that takes an `Idempotency-Key` can be repeated safely.
"""

PATH_TYPES = {
    RowIdConverter: {"type": "integer", "format": "int64", "minimum": 1, "maximum": BIGGEST_ID},
    TokenIdConverter: {"type": "string", "pattern": f"^{TOKEN_ID.pattern}$"},
}

REQUEST_HEADERS: Mapping[str, tuple[str, Document]] = {
    "X-Request-ID": (
        "What our logs call this request: 1 to 128 letters, digits, dots, hyphens, underscores.",
        {"type": "string"},
    ),
    "If-None-Match": (
        "The entity tags that the client holds; where one is current, the answer is 304.",
        {"type": "string"},
    ),
    "If-Match": (
        "`*`, or the entity tags that may be changed, in quotes; where none is current: 412.",
        {"type": "string", "format": "entity-tags"},
    ),
    "Idempotency-Key": (
        "Names the request: within 24 hours, the same key gets the first outcome again.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    ),
}

RESPONSE_HEADERS: Mapping[str, tuple[str, Document]] = {
    "X-Request-ID": ("What our logs call this request.", {"type": "string"}),
    "ETag": ("The version of what this is about.", {"type": "string"}),
    "Location": ("Where the new resource is.", {"type": "string", "format": "uri"}),
    "Link": ("Where the next page is, if there is one.", {"type": "string"}),
    "Content-Disposition": ("The name of the file that this is.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before asking again.", {"type": "integer"}),
    "X-RateLimit-Limit": ("How many requests may come in one window.", {"type": "integer"}),
    "X-RateLimit-Remaining": ("How many of them are left.", {"type": "integer"}),
    "X-RateLimit-Reset": ("When there is one more, in seconds since 1970.", {"type": "integer"}),
    "WWW-Authenticate": ("How to authenticate (RFC 6750).", {"type": "string"}),
    "Idempotent-Replayed": (
        "Says that this is the outcome of an earlier request with the same key.",
        {"type": "string", "enum": ["true"]},
    ),
}


def build(app: Flask) -> Document:
    """Return the document of what ``app`` serves, with a server that is relative to it."""
    paths, schemas = FlaskPlugin(), MarshmallowPlugin()
    schemas.Converter = Converter
    for converter, schema in PATH_TYPES.items():
        paths.register_converter(converter, lambda _, schema=schema: dict(schema))
    spec = APISpec(
        app.config["API_TITLE"],
        app.config["API_VERSION"],
        app.config["OPENAPI_VERSION"],
        [paths, Promises(app), schemas],
        info={"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/", "description": "The server that this document came from."}],
    )
    _add_components(spec, app)
    for blueprint in app.blueprints.values():
        if isinstance(blueprint, Blueprint):
            blueprint.document(api, app, spec)
    document = spec.to_dict()
    schemes = document["components"]["securitySchemes"]
    document["components"]["securitySchemes"] = dict(sorted(schemes.items()))
    return {part: document[part] for part in PARTS}


def _add_components(spec: APISpec, app: Flask) -> None:
    for name, (description, schema) in REQUEST_HEADERS.items():
        told = {"description": description, "schema": schema}
        spec.components.parameter(name, "header", told, lazy=True)
    for name, (description, schema) in RESPONSE_HEADERS.items():
        spec.components.header(name, {"description": description, "schema": schema}, lazy=True)
    with app.app_context():
        for kind in kinds():
            example = {"summary": kind.title, "value": _example_of(kind)}
            spec.components.example(kind.code, example, lazy=True)


def _example_of(kind: type[Problem]) -> Document:
    return kind.example().body() | {
        "type": f"https://api.example.com/problems/{kind.code}",
        "instance": "/api/v1/tasks",
        "request_id": "5f0c2a9b8e7d4c61a3f2b1d09e8c7a65",
    }


class Promises(BasePlugin):
    """Adds to each operation what the decorators of its view promise."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.kinds = {kind.__name__: kind for kind in kinds()}

    def init_spec(self, spec: APISpec) -> None:
        self.spec = spec

    def operation_helper(
        self, path: str | None = None, operations: Document | None = None, **kwargs: Any
    ) -> None:
        rule: Rule = kwargs["rule"]
        promise = promised(self.app.view_functions[rule.endpoint])
        for scheme in promise.tokens:
            if scheme.name not in self.spec.components.security_schemes:
                bearer = {"type": "http", "scheme": "bearer", "bearerFormat": scheme.format}
                told = {**bearer, "description": scheme.description}
                self.spec.components.security_scheme(scheme.name, told)
        for method, operation in (operations or {}).items():
            _name(operation, rule)
            _complete(operation, method, rule, promise, versioned=self._is_versioned(rule))
            self._share(operation["responses"])
            for part in OPERATION_PARTS:
                if part in operation:
                    operation[part] = operation.pop(part)

    def _share(self, answers: Document) -> None:
        """Make components of the answers that are told by the name of a kind alone."""
        for answer in answers.values():
            if isinstance(answer, str) and answer not in self.spec.components.responses:
                self.spec.components.response(answer, _refusal([self.kinds[answer]]))

    def _is_versioned(self, rule: Rule) -> bool:
        """Tell whether what a path names has a version, whichever method shows it."""
        return any(
            promised(self.app.view_functions[other.endpoint]).versioned
            for other in self.app.url_map.iter_rules()
            if other.rule == rule.rule
        )


def _name(operation: Document, rule: Rule) -> None:
    first, *others = rule.endpoint.rpartition(".")[2].split("_")
    operation["operationId"] = first + "".join(map(str.capitalize, others))
    summary = operation["summary"].replace("``", "`")
    operation["summary"] = summary.removesuffix(".")
    operation["description"] = operation.get("description", summary).replace("``", "`")


def _complete(
    operation: Document, method: str, rule: Rule, promise: Promise, *, versioned: bool
) -> None:
    """Say what goes in and out of one operation."""
    reads = method == "get" and (promise.tagged or promise.versioned or promise.paged)
    changes = method in {"put", "patch", "delete"} and versioned
    taken = {"If-None-Match": reads, "If-Match": changes, "Idempotency-Key": promise.takes_key}
    parameters = operation.setdefault("parameters", [])
    parameters += ["X-Request-ID", *(name for name, is_taken in taken.items() if is_taken)]
    operation["security"] = [{scheme.name: []} for scheme in promise.tokens]
    # In the list above linters take a scope for OAuth's alone.
    if scope := next((scheme.scope for scheme in promise.tokens if scheme.scope), None):
        operation["x-required-scope"] = scope
        operation["description"] += f"\n\nA personal access token needs the scope `{scope}`."
    if body := operation.get("requestBody"):
        _complete_body(body, method)

    answer = operation["responses"][promise.status]
    _add_example(answer)
    for media_type, example in promise.other_types.items():
        answer["content"][media_type] = {"schema": {"type": "string"}, "example": example}
    given = {
        "Location": promise.makes,
        "ETag": reads or promise.versioned,
        "Link": promise.paged,
        "Content-Disposition": promise.attached,
        "Idempotent-Replayed": promise.takes_key,
    }
    answer["headers"] = _headers(*(name for name, is_given in given.items() if is_given))
    answers = {promise.status: answer}
    if reads:
        answers[304] = {"description": "Not Modified", "headers": _headers("ETag")}
    problems = {
        *promise.problems,
        *([NotFound] if rule.arguments else []),
        *([BadRequest, StaleVersion] if changes else []),
    }
    operation["responses"] = answers | dict(_refusals(problems, promise))


def _complete_body(body: Document, method: str) -> None:
    _add_example(body)
    if method == "patch":
        [content] = body["content"].values()
        body["content"][MERGE_PATCH] = dict(content)


def _add_example(holder: Document) -> None:
    for content in holder.get("content", {}).values():
        if isinstance(content["schema"], Schema):
            content["example"] = example_of(content["schema"])


def _refusals(
    problems: set[type[Problem]], promise: Promise
) -> Iterator[tuple[int, Document | str]]:
    """Yield the answer of each status that is a refusal."""
    ordered = sorted(problems, key=lambda kind: (kind.status, kind.code))
    for status, group in groupby(ordered, key=lambda kind: kind.status):
        alike = list(group)
        # What is kept for a key is the outcome of a request that came through the door.
        replayed = promise.takes_key and status < 500 and status != HTTPStatus.UNAUTHORIZED
        shared = len(alike) == 1 and not replayed
        yield int(status), alike[0].__name__ if shared else _refusal(alike, replayed=replayed)


def _refusal(alike: Sequence[type[Problem]], *, replayed: bool = False) -> Document:
    headers = {kind.header for kind in alike if kind.header}
    examples = {kind.code: kind.code for kind in alike}
    return {
        "description": "\n".join(f"- `{kind.code}`: {kind.detail}" for kind in alike),
        "headers": _headers(*sorted(headers), *(["Idempotent-Replayed"] if replayed else [])),
        "content": {PROBLEM_JSON: {"schema": PROBLEM, "examples": examples}},
    }


def _headers(*names: str) -> Document:
    return {name: name for name in ("X-Request-ID", *HEADERS, *names)}
