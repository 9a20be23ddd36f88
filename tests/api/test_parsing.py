"""Request bodies: strict JSON, or a problem and no change."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
COMPLETE = b'{"title": "New", "status": "pending"}'


@pytest.fixture
def send(alice, stored):
    """Post a body that is rejected, and assert that nothing was written."""
    alice.task()
    all_columns = select(*Task.__table__.c)
    before = stored(all_columns)

    def call(**kwargs):
        response = alice.post("/tasks", content_type=JSON, **kwargs)
        assert stored(all_columns) == before
        return response

    return call


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a": 1, "a": 2}', "An object has the same key twice."),
        (b'{"a": NaN}', "NaN is not a JSON value."),
        (b'{"a": 1e999}', "A number is too large."),
        (b"[" * 33 + b"]" * 33, "The body is nested more than 32 levels deep."),
        (b"{", "The body is not valid JSON."),
    ],
)
def test_malformed_body_has_a_reason(send, body, detail):
    assert_problem(send(data=body), 400, "malformed_json", detail=detail)


def test_incomplete_body_is_rejected(send):
    response = send(data=COMPLETE, environ_overrides={"CONTENT_LENGTH": str(len(COMPLETE) + 1)})
    detail = "The body is shorter than its Content-Length."
    assert_problem(response, 400, "bad_request", detail=detail)


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json; indent=2",
        MERGE_PATCH,
        f"{MERGE_PATCH}; charset=utf-8",
    ],
)
def test_media_types_of_json_are_accepted(alice, content_type):
    path = f"/tasks/{alice.task()['id']}"
    headers = {"Content-Encoding": "identity"}
    response = alice.patch(path, data=COMPLETE, content_type=content_type, headers=headers)
    assert response.json["title"] == "New"


@pytest.mark.parametrize("body", [b"{", b"null", b"", b"x" * (1024 * 1024 + 1)])
def test_authentication_precedes_parsing(client, stored, body):
    for content_type in (JSON, "text/plain"):
        response = client.post("/api/v1/tasks", data=body, content_type=content_type)
        assert_problem(response, 401, "authentication_required")
    assert stored(select(Task.id)) == []
