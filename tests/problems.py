"""Assertions about problem responses (RFC 9457)."""

from typing import Any

from werkzeug.test import TestResponse


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
    assert body["instance"] == response.request.path
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


def parameters(response: TestResponse) -> set[str]:
    """Return the query parameters in a 422 response."""
    body = assert_problem(response, 422, "validation_error")
    assert all(error["detail"] for error in body["errors"])
    return {error["parameter"] for error in body["errors"]}
