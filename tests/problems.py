"""What every refusal looks like (RFC 9457)."""

from typing import Any

from werkzeug.test import TestResponse


def assert_problem(answer: TestResponse, status: int, code: str, **members: Any) -> dict[str, Any]:
    """Assert that an answer is just the problem that it should be, and return its body."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    body: dict[str, Any] = answer.json
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"].startswith("http")
    assert body["type"].endswith(f"/problems/{code}")
    assert body["title"].lower() == code.replace("_", " ")
    assert body["detail"]
    assert body["instance"] == answer.request.path
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert ("errors" in body) == (status == 422)
    assert {name: body.get(name) for name in members} == members
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    return body


def pointers(answer: TestResponse) -> set[str]:
    """Return the places that a 422 names."""
    body = assert_problem(answer, 422, "validation_error")
    assert all(fault["detail"] for fault in body["errors"])
    return {fault["pointer"] for fault in body["errors"]}


def parameters(answer: TestResponse) -> set[str]:
    """Return the parameters of the query that a 422 names."""
    body = assert_problem(answer, 422, "validation_error")
    assert all(fault["detail"] for fault in body["errors"])
    return {fault["parameter"] for fault in body["errors"]}
