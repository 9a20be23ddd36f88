"""The OpenAPI document, from flask-smorest and the metadata of operations."""

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

from app.api import api
from app.api.blueprint import TOKEN_ID, Blueprint, RowIdConverter, TokenIdConverter
from app.api.jsonschema import Converter, example_of
from app.api.operation_meta import OperationMeta, get_meta
from app.api.parsing import JSON, MERGE_PATCH
from app.api.schemas import ProblemSchema
from app.db.types import MAX_ID
from app.errors import BadRequest, NotFound, Problem, StaleVersion, all_problems
from app.rate_limiter import HEADERS

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
Tasks, and the users that they belong to.

- Bodies are JSON in UTF-8. Unknown fields are rejected.
- Every error is a problem (RFC 9457): its `code` never changes, its `type` is a page about it.
- Lists are paginated: follow `next_cursor`, or the `Link` header, until there is none.
- Versioned resources have an `ETag`: send it as `If-Match` to avoid lost updates.
- An operation with an `Idempotency-Key` can be retried safely.
"""

PATH_TYPES = {
    RowIdConverter: {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID},
    TokenIdConverter: {"type": "string", "pattern": f"^{TOKEN_ID.pattern}$"},
}

REQUEST_HEADERS: Mapping[str, tuple[str, Document]] = {
    "X-Request-ID": (
        "Identifies the request in logs: 1 to 128 letters, digits, dots, hyphens, underscores.",
        {"type": "string"},
    ),
    "If-None-Match": (
        "The entity tags that the client has. If one is current, the response is 304.",
        {"type": "string"},
    ),
    "If-Match": (
        "`*`, or quoted entity tags. If none is current, the response is 412.",
        {"type": "string", "format": "entity-tags"},
    ),
    "Idempotency-Key": (
        "Identifies the request: for 24 hours, the same key gets the first response again.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    ),
}

RESPONSE_HEADERS: Mapping[str, tuple[str, Document]] = {
    "X-Request-ID": ("Identifies the request in logs.", {"type": "string"}),
    "ETag": ("The version of the resource.", {"type": "string"}),
    "Location": ("The URL of the new resource.", {"type": "string", "format": "uri"}),
    "Link": ("The URL of the next page, if there is one.", {"type": "string"}),
    "Content-Disposition": ("The name of the file.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before the next request.", {"type": "integer"}),
    "X-RateLimit-Limit": ("Requests allowed in a window.", {"type": "integer"}),
    "X-RateLimit-Remaining": ("Requests left in the window.", {"type": "integer"}),
    "X-RateLimit-Reset": ("When one more is allowed, in seconds since 1970.", {"type": "integer"}),
    "WWW-Authenticate": ("How to authenticate (RFC 6750).", {"type": "string"}),
    "Idempotent-Replayed": (
        "The response is that of an earlier request with the same key.",
        {"type": "string", "enum": ["true"]},
    ),
}


def build(app: Flask) -> Document:
    """Return the document of the API that ``app`` serves."""
    paths, schemas = FlaskPlugin(), MarshmallowPlugin()
    schemas.Converter = Converter
    for converter, schema in PATH_TYPES.items():
        paths.register_converter(converter, lambda _, schema=schema: dict(schema))
    spec = APISpec(
        app.config["API_TITLE"],
        app.config["API_VERSION"],
        app.config["OPENAPI_VERSION"],
        [paths, OperationPlugin(app), schemas],
        info={"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/", "description": "The server of this document."}],
    )
    _add_components(spec, app)
    for blueprint in app.blueprints.values():
        if isinstance(blueprint, Blueprint):
            blueprint.add_to_spec(api, app, spec)
    document = spec.to_dict()
    schemes = document["components"]["securitySchemes"]
    document["components"]["securitySchemes"] = dict(sorted(schemes.items()))
    return {part: document[part] for part in PARTS}


def _add_components(spec: APISpec, app: Flask) -> None:
    for name, (description, schema) in REQUEST_HEADERS.items():
        parameter = {"description": description, "schema": schema}
        spec.components.parameter(name, "header", parameter, lazy=True)
    for name, (description, schema) in RESPONSE_HEADERS.items():
        spec.components.header(name, {"description": description, "schema": schema}, lazy=True)
    with app.app_context():
        for problem in all_problems():
            example = {"summary": problem.title, "value": _example_of(problem)}
            spec.components.example(problem.code, example, lazy=True)


def _example_of(problem: type[Problem]) -> Document:
    return problem.example().to_dict("https://api.example.com") | {
        "instance": "/api/v1/tasks",
        "request_id": "5f0c2a9b8e7d4c61a3f2b1d09e8c7a65",
    }


class OperationPlugin(BasePlugin):
    """Completes each operation from the metadata of its view."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.problems = {problem.__name__: problem for problem in all_problems()}

    def init_spec(self, spec: APISpec) -> None:
        self.spec = spec

    def operation_helper(
        self, path: str | None = None, operations: Document | None = None, **kwargs: Any
    ) -> None:
        rule: Rule = kwargs["rule"]
        meta = get_meta(self.app.view_functions[rule.endpoint])
        for scheme in meta.tokens:
            if scheme.name not in self.spec.components.security_schemes:
                bearer = {"type": "http", "scheme": "bearer", "bearerFormat": scheme.format}
                component = {**bearer, "description": scheme.description}
                self.spec.components.security_scheme(scheme.name, component)
        for method, operation in (operations or {}).items():
            _set_names(operation, rule)
            _complete(operation, method, rule, meta, versioned=self._is_versioned(rule))
            self._add_shared_responses(operation["responses"])
            for part in OPERATION_PARTS:
                if part in operation:
                    operation[part] = operation.pop(part)

    def _add_shared_responses(self, responses: Document) -> None:
        """Add a component for each response that is a reference to a problem."""
        for response in responses.values():
            if isinstance(response, str) and response not in self.spec.components.responses:
                component = _problem_response([self.problems[response]])
                self.spec.components.response(response, component)

    def _is_versioned(self, rule: Rule) -> bool:
        """Return whether the resource of a path has a version, whichever method returns it."""
        return any(
            get_meta(self.app.view_functions[other.endpoint]).is_versioned
            for other in self.app.url_map.iter_rules()
            if other.rule == rule.rule
        )


def _set_names(operation: Document, rule: Rule) -> None:
    first, *others = rule.endpoint.rpartition(".")[2].split("_")
    operation["operationId"] = first + "".join(map(str.capitalize, others))
    summary = operation["summary"].replace("``", "`")
    operation["summary"] = summary.removesuffix(".")
    operation["description"] = operation.get("description", summary).replace("``", "`")


def _complete(
    operation: Document, method: str, rule: Rule, meta: OperationMeta, *, versioned: bool
) -> None:
    """Add parameters, security, headers, examples and problems to an operation."""
    has_etag = method == "get" and (meta.has_etag or meta.is_versioned or meta.is_page)
    writes = method in {"put", "patch", "delete"} and versioned
    headers = {
        "If-None-Match": has_etag,
        "If-Match": writes,
        "Idempotency-Key": meta.accepts_idempotency_key,
    }
    parameters = operation.setdefault("parameters", [])
    parameters += ["X-Request-ID", *(name for name, accepted in headers.items() if accepted)]
    operation["security"] = [{scheme.name: []} for scheme in meta.tokens]
    # Linters accept scopes in `security` for OAuth only.
    if scope := next((scheme.scope for scheme in meta.tokens if scheme.scope), None):
        operation["x-required-scope"] = scope
        operation["description"] += f"\n\nA personal access token needs the scope `{scope}`."
    if body := operation.get("requestBody"):
        _complete_body(body, method)

    response = operation["responses"][meta.status]
    _add_example(response)
    for media_type, example in meta.other_types.items():
        response["content"][media_type] = {"schema": {"type": "string"}, "example": example}
    headers = {
        "Location": meta.returns_location,
        "ETag": has_etag or meta.is_versioned,
        "Link": meta.is_page,
        "Content-Disposition": meta.is_attachment,
        "Idempotent-Replayed": meta.accepts_idempotency_key,
    }
    response["headers"] = _headers(*(name for name, present in headers.items() if present))
    responses = {meta.status: response}
    for status, schema in meta.other_responses.items():
        responses[status] = {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(),
            "content": {JSON: {"schema": schema, "example": example_of(schema)}},
        }
    if has_etag:
        responses[304] = {"description": "Not Modified", "headers": _headers("ETag")}
    problems = {
        *meta.problems,
        *([NotFound] if rule.arguments else []),
        *([BadRequest, StaleVersion] if writes else []),
    }
    operation["responses"] = responses | dict(_problem_responses(problems, meta))


def _complete_body(body: Document, method: str) -> None:
    _add_example(body)
    if method == "patch":
        [content] = body["content"].values()
        body["content"][MERGE_PATCH] = dict(content)


def _add_example(holder: Document) -> None:
    for content in holder.get("content", {}).values():
        if isinstance(content["schema"], Schema):
            content["example"] = example_of(content["schema"])


def _problem_responses(
    problems: set[type[Problem]], meta: OperationMeta
) -> Iterator[tuple[int, Document | str]]:
    """Yield the response of each status; that of a single problem is a shared component."""
    ordered = sorted(problems, key=lambda problem: (problem.status, problem.code))
    for status, group in groupby(ordered, key=lambda problem: problem.status):
        classes = list(group)
        # A stored response is that of an authenticated request.
        replayed = (
            meta.accepts_idempotency_key and status < 500 and status != HTTPStatus.UNAUTHORIZED
        )
        shared = len(classes) == 1 and not replayed
        yield (
            int(status),
            classes[0].__name__ if shared else _problem_response(classes, replayed=replayed),
        )


def _problem_response(classes: Sequence[type[Problem]], *, replayed: bool = False) -> Document:
    headers = {problem.header for problem in classes if problem.header}
    examples = {problem.code: problem.code for problem in classes}
    return {
        "description": "\n".join(f"- `{problem.code}`: {problem.detail}" for problem in classes),
        "headers": _headers(*sorted(headers), *(["Idempotent-Replayed"] if replayed else [])),
        "content": {PROBLEM_JSON: {"schema": ProblemSchema, "examples": examples}},
    }


def _headers(*names: str) -> Document:
    return {name: name for name in ("X-Request-ID", *HEADERS, *names)}
