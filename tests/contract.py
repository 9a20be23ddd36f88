"""The document's word on every answer: whatever a test client gets must be what the document says.

An undocumented status, media type, member, header or problem code fails the test that met it.
"""

import re
from typing import Any

import jsonschema_rs
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import kinds
from app.http.limits import HEADERS as RATES
from app.http.openapi import PROBLEM_JSON, Document, build

BASE = "/api/v1/"
PROBLEM = {"$ref": "#/components/schemas/Problem"}
# What any answer may carry, whatever it answers.
COMMON = {
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
# What the document declares, and not every answer of its kind has.
OPTIONAL = {"Idempotent-Replayed", "Link", "Retry-After"}
# Of the problems with one status, each has its own header.
HEADERS = {kind.code: kind.header for kind in kinds()}


class Contract:
    """The document of one application, ready to judge its answers."""

    def __init__(self, app: Flask) -> None:
        document = build(app)
        self.components = document["components"]
        # A path without parameters goes first, as it does with the router.
        self.paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operations)
            for path, operations in sorted(document["paths"].items(), key=_has_parameters)
        ]
        self.validators: dict[str, Any] = {}
        # An application that limits no rates tells of none.
        self.optional = OPTIONAL if app.config["RATELIMIT_ENABLED"] else OPTIONAL | {*RATES}

    def judge(self, answer: TestResponse) -> None:
        """Assert that the document foresees ``answer``."""
        # Not request.path, which starts with one slash however many were sent.
        path = answer.request.environ["PATH_INFO"]
        operation = self._operation(answer.request.method, path)
        if operation is not None:
            self._judge_operation(answer, operation)
        elif answer.request.method == "OPTIONS" and answer.status_code < 400:
            assert answer.headers["Allow"]
            assert not answer.data
        elif path.startswith(BASE) or answer.status_code >= 400:
            assert answer.status_code >= 400, f"{where(answer)} is not in the document"
            self._judge_body(answer, PROBLEM, PROBLEM_JSON)

    def _operation(self, method: str, path: str) -> Document | None:
        method = "get" if method == "HEAD" else method.lower()
        trimmed = path.removesuffix("/")
        found = (told for pattern, told in self.paths if pattern.fullmatch(trimmed))
        operation: Document | None = next(found, {}).get(method)
        return operation

    def _judge_operation(self, answer: TestResponse, operation: Document) -> None:
        told = operation["responses"].get(str(answer.status_code))
        assert told, f"{where(answer)} is not in the document: {answer.text}"
        told = self._resolve(told)
        declared, given = set(told["headers"]), set(answer.headers.keys())
        assert given <= declared | COMMON, f"{where(answer)}: {given - declared - COMMON}"
        optional = self.optional | _of_other_kinds(answer)
        assert declared - optional <= given, f"{where(answer)} lacks {declared - given}"
        content = told.get("content")
        if content is None:
            assert not answer.data, f"{where(answer)} has a body"
            return
        media_type = answer.mimetype
        assert media_type in content, f"{where(answer)} is {media_type}"
        self._judge_body(answer, content[media_type]["schema"], media_type)
        if media_type == PROBLEM_JSON and answer.data:
            code = answer.json["code"]
            assert code in content[media_type]["examples"], f"{where(answer)} {code}"

    def _judge_body(self, answer: TestResponse, schema: Document, media_type: str) -> None:
        assert answer.mimetype == media_type, f"{where(answer)} is {answer.mimetype}"
        if answer.request.method == "HEAD":
            assert not answer.data, f"{where(answer)} has a body"
        elif media_type.endswith("json"):
            self._validator(schema["$ref"]).validate(answer.json)

    def _validator(self, reference: str) -> Any:
        if reference not in self.validators:
            schema = {"$ref": reference, "components": self.components}
            self.validators[reference] = jsonschema_rs.Draft202012Validator(
                schema, validate_formats=True
            )
        return self.validators[reference]

    def _resolve(self, told: Document) -> Document:
        if "$ref" in told:
            told = self.components["responses"][told["$ref"].rpartition("/")[2]]
        return told


def _has_parameters(path: tuple[str, Document]) -> bool:
    return "{" in path[0]


def _of_other_kinds(answer: TestResponse) -> set[str]:
    """Return the headers that problems have, but for that of the one which this answer tells."""
    if answer.mimetype != PROBLEM_JSON or not answer.data:
        return set()
    return {name for name in HEADERS.values() if name} - {HEADERS[answer.json["code"]]}


def where(answer: TestResponse) -> str:
    return f"{answer.request.method} {answer.request.path} {answer.status_code}"


class ContractClient(FlaskClient):
    """A client that takes no answer but those that the document foresees."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        answer = super().open(*args, **kwargs)
        known = self.application.extensions
        if "contract" not in known:
            known["contract"] = Contract(self.application)
        known["contract"].judge(answer)
        return answer
