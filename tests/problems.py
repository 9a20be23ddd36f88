"""Assertions about problem responses (RFC 9457)."""

import re
from typing import Any
from urllib.parse import unquote

from werkzeug.test import TestResponse

# RFC 3986, 3.3
URI_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})*")


def assert_problem(
    response: TestResponse, status: int, code: str, **members: Any
) -> dict[str, Any]:
    """Assert that a response is a problem with these members; return its body."""
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    body: dict[str, Any] = response.json
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"].startswith("http")
    assert body["type"].endswith(f"/problems/{code}")
    assert body["title"].lower() == code.replace("_", " ")
    assert body["detail"]
    assert unquote(body["instance"]) == response.request.path
    assert URI_PATH.fullmatch(body["instance"])
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert ("errors" in body) == (status == 422)
    assert {name: body.get(name) for name in members} == members
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    return body


def pointers(response: TestResponse) -> set[str]:
    """Return the JSON pointers in a 422 response."""
    body = assert_problem(response, 422, "validation_error")
    assert all(error["detail"] for error in body["errors"])
    return {error["pointer"] for error in body["errors"]}


def details(response: TestResponse) -> dict[str, str]:
    """Return the details of a 422 response by pointer or parameter."""
    errors = assert_problem(response, 422, "validation_error")["errors"]
    return {error.get("pointer") or error["parameter"]: error["detail"] for error in errors}


def parameters(response: TestResponse) -> set[str]:
    """Return the query parameters in a 422 response."""
    body = assert_problem(response, 422, "validation_error")
    assert all(error["detail"] for error in body["errors"])
    return {error["parameter"] for error in body["errors"]}
