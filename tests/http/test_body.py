"""Bodies: JSON in UTF-8 that says one thing, or a refusal, and no row is changed."""

import pytest
from sqlalchemy import select

from app.tasks.models import Task
from tests.problems import assert_problem

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
WHOLE = b'{"title": "New", "status": "pending"}'


@pytest.fixture
def send(alice, stored):
    """Sends bytes as the body of a write that is to be refused, and sees that it wrote nothing."""
    alice.task()
    everything = select(*Task.__table__.c)
    before = stored(everything)

    def call(**kwargs):
        answer = alice.post("/tasks", content_type=JSON, **kwargs)
        assert stored(everything) == before
        return answer

    return call


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a": 1, "a": 2}', "A key stands twice in one object."),
        (b'{"a": NaN}', "NaN is not a JSON value."),
        (b'{"a": 1e999}', "A number is too large."),
        (b"[" * 33 + b"]" * 33, "The body is nested more than 32 deep."),
        (b"{", "The body is not valid JSON."),
    ],
)
def test_a_malformed_body_is_told_why(send, body, detail):
    assert_problem(send(data=body), 400, "malformed_json", detail=detail)


def test_a_body_that_ends_before_its_stated_length_is_refused_though_it_is_json(send):
    answer = send(data=WHOLE, environ_overrides={"CONTENT_LENGTH": str(len(WHOLE) + 1)})
    detail = "The body is shorter than its Content-Length."
    assert_problem(answer, 400, "bad_request", detail=detail)


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
def test_json_is_taken_under_each_of_its_names(alice, content_type):
    path = f"/tasks/{alice.task()['id']}"
    headers = {"Content-Encoding": "identity"}
    answer = alice.patch(path, data=WHOLE, content_type=content_type, headers=headers)
    assert answer.json["title"] == "New"


@pytest.mark.parametrize("body", [b"{", b"null", b"", b"x" * (1024 * 1024 + 1)])
def test_who_sends_is_asked_before_what_is_sent(client, stored, body):
    for content_type in (JSON, "text/plain"):
        answer = client.post("/api/v1/tasks", data=body, content_type=content_type)
        assert_problem(answer, 401, "authentication_required")
    assert stored(select(Task.id)) == []
