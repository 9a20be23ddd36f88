"""Checks each response that a test receives against the OpenAPI document.

An undocumented status, media type, member, header or problem code fails the test.
"""

import re
from typing import Any

import jsonschema_rs
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.api.openapi import PROBLEM_JSON, Document, build
from app.errors import all_problems
from app.rate_limiter import HEADERS as RATE_LIMIT_HEADERS

BASE = "/api/v1/"
PROBLEM = {"$ref": "#/components/schemas/Problem"}
# Headers that every response may have.
COMMON_HEADERS = {
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Cache-Control",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Referrer-Policy",
    "Strict-Transport-Security",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
}
# Documented headers that a response may lack.
OPTIONAL_HEADERS = {"Idempotent-Replayed", "Link", "Retry-After"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
PROBLEM_HEADERS = {problem.code: problem.header for problem in all_problems()}


class Contract:
    """The OpenAPI document of an application."""

    def __init__(self, app: Flask) -> None:
        document = build(app)
        self.components = document["components"]
        # Paths without parameters come first, as in routing.
        self.paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operations)
            for path, operations in sorted(document["paths"].items(), key=_has_parameters)
        ]
        self.validators: dict[str, Any] = {}
        self.optional_headers = OPTIONAL_HEADERS
        if not app.config["RATELIMIT_ENABLED"]:
            self.optional_headers = OPTIONAL_HEADERS | {*RATE_LIMIT_HEADERS}

    def check(self, response: TestResponse) -> None:
        """Assert that the document describes ``response``."""
        # request.path would collapse leading slashes.
        path = response.request.environ["PATH_INFO"]
        operation = self._find_operation(response.request.method, path)
        if operation is not None:
            self._check_operation(response, operation)
        elif response.request.method == "OPTIONS" and response.status_code < 400:
            assert response.headers["Allow"]
            assert not response.data
        elif path.startswith(BASE) or response.status_code >= 400:
            assert response.status_code >= 400, f"{describe(response)} is not in the document"
            self._check_body(response, PROBLEM, PROBLEM_JSON)

    def _find_operation(self, method: str, path: str) -> Document | None:
        method = "get" if method == "HEAD" else method.lower()
        path = path.removesuffix("/")
        matches = (operations for pattern, operations in self.paths if pattern.fullmatch(path))
        operation: Document | None = next(matches, {}).get(method)
        return operation

    def _check_operation(self, response: TestResponse, operation: Document) -> None:
        documented = operation["responses"].get(str(response.status_code))
        assert documented, f"{describe(response)} is not in the document: {response.text}"
        documented = self._resolve(documented)
        declared, actual = set(documented["headers"]), set(response.headers.keys())
        undeclared = actual - declared - COMMON_HEADERS
        assert not undeclared, f"{describe(response)} has undocumented headers {undeclared}"
        optional = self.optional_headers | _headers_of_other_problems(response)
        if "health" in operation["tags"]:  # exempt from rate limits
            optional |= {*RATE_LIMIT_HEADERS}
        missing = declared - optional - actual
        assert not missing, f"{describe(response)} lacks headers {missing}"
        content = documented.get("content")
        if content is None:
            assert not response.data, f"{describe(response)} has a body"
            return
        media_type = response.mimetype
        assert media_type in content, f"{describe(response)} is {media_type}"
        self._check_body(response, content[media_type]["schema"], media_type)
        if media_type == PROBLEM_JSON and response.data:
            code = response.json["code"]
            assert code in content[media_type]["examples"], f"{describe(response)} {code}"

    def _check_body(self, response: TestResponse, schema: Document, media_type: str) -> None:
        assert response.mimetype == media_type, f"{describe(response)} is {response.mimetype}"
        if response.request.method == "HEAD":
            assert not response.data, f"{describe(response)} has a body"
        elif media_type.endswith("json"):
            self._validator(schema["$ref"]).validate(response.json)

    def _validator(self, reference: str) -> Any:
        if reference not in self.validators:
            schema = {"$ref": reference, "components": self.components}
            self.validators[reference] = jsonschema_rs.Draft202012Validator(
                schema, validate_formats=True, formats={"date-time": is_instant}
            )
        return self.validators[reference]

    def _resolve(self, documented: Document) -> Document:
        if "$ref" in documented:
            return self.components["responses"][documented["$ref"].rpartition("/")[2]]
        return documented


def is_instant(text: str) -> bool:
    """Return whether a time is in UTC with six digits of a second, as all times of responses."""
    return INSTANT.fullmatch(text) is not None


def _has_parameters(path: tuple[str, Document]) -> bool:
    return "{" in path[0]


def _headers_of_other_problems(response: TestResponse) -> set[str]:
    """Return the headers of problems other than this one, which may share its status."""
    if response.mimetype != PROBLEM_JSON or not response.data:
        return set()
    headers = {name for name in PROBLEM_HEADERS.values() if name}
    return headers - {PROBLEM_HEADERS[response.json["code"]]}


def describe(response: TestResponse) -> str:
    return f"{response.request.method} {response.request.path} {response.status_code}"


class ContractClient(FlaskClient):
    """A test client that checks each response against the OpenAPI document."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        extensions = self.application.extensions
        if "contract" not in extensions:
            extensions["contract"] = Contract(self.application)
        extensions["contract"].check(response)
        return response
