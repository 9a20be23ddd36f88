"""Dry runs of imports."""

import json

import pytest
from sqlalchemy import select

from app.api.models import IdempotencyRecord
from app.jobs import imports
from app.jobs.models import Job
from app.outbox.models import OutboxMessage
from tests.jobs.conftest import summary, tasks_of
from tests.problems import assert_problem, parameters

ROWS = [
    {"title": "a", "due_at": "2030-01-31T09:00:00Z", "id": 7},
    {"title": ""},
    {"title": "b", "priority": "high"},
]


@pytest.fixture
def dry_run(alice):
    """Send a file; return the response."""

    def send(content, content_type="application/json", **kwargs):
        query = {"dry_run": "true"}
        return alice.post(
            "/imports", data=content, content_type=content_type, query_string=query, **kwargs
        )

    return send


def test_dry_run_returns_the_report_and_changes_nothing(alice, dry_run, stored):
    response = dry_run(json.dumps(ROWS))
    assert response.status_code == 200
    body = {
        "description": None,
        "status": "pending",
        "priority": "none",
        "due_date": None,
        "due_at": None,
        "time_zone": None,
    }
    errors = [{"pointer": "/title", "detail": "Must not be empty."}]
    assert response.json == {
        **summary(
            created=2,
            refused=1,
            not_read={"id": 1},
            rows=[{"row": 2, "line": 1, "errors": errors}],
        ),
        "tasks": [
            {**body, "title": "a", "due_at": "2030-01-31T09:00:00.000000Z"},
            {**body, "title": "b", "priority": "high"},
        ],
        "complete": True,
    }
    assert (tasks_of(alice), stored(select(Job.id))) == ([], [])
    assert stored(select(OutboxMessage.id).where(OutboxMessage.type == "job")) == []


def test_dry_run_counts_what_the_import_then_does(alice, dry_run, import_file, report):
    content = "TYPE,CONTENT,INDENT\nsection,x,\ntask,a,2\ntask,,\n"
    expected = dry_run(content, "text/csv").json
    result = report(alice, import_file(alice, content, "todoist"))
    assert result == {name: expected[name] for name in result}
    assert (result["created"], result["refused"], result["skipped"]) == (1, 1, 1)


def test_dry_run_stores_no_response_under_its_key(dry_run, stored):
    for _ in range(2):
        response = dry_run("[]", headers={"Idempotency-Key": "k"})
        assert (response.status_code, response.headers.get("Idempotent-Replayed")) == (200, None)
    assert stored(select(IdempotencyRecord.key)) == []


def test_dry_run_shows_the_first_20_of_each_kind(dry_run):
    content = "TYPE,CONTENT\n" + "task,a\ntask,\nsection,b\n" * 30
    report = dry_run(content, "text/csv").json
    assert (report["created"], report["refused"], report["skipped"]) == (30, 30, 30)
    assert len(report["tasks"]) == 20
    rows = [(row["row"], "skipped" in row) for row in report["rows"]]
    assert rows == [(3 * n + kind, kind == 3) for n in range(20) for kind in (2, 3)]


def test_dry_run_of_a_long_file_says_that_it_is_not_complete(dry_run, monkeypatch):
    monkeypatch.setattr(imports, "MAX_DRY_RUN_ROWS", 3)
    for count, is_complete in ((3, True), (4, False)):
        report = dry_run(json.dumps([{"title": "a"}] * count)).json
        assert (report["created"], report["complete"]) == (3, is_complete)


@pytest.mark.parametrize(
    ("content", "content_type", "code"),
    [
        ("[{]", "application/json", "malformed_json"),
        ("title,colour\na,b\n", "text/csv", "validation_error"),
        ("SUMMARY:a", "text/calendar", "validation_error"),
        (b"\xff\xfe\x00", "text/csv", "validation_error"),
    ],
)
def test_dry_run_of_an_unreadable_file_is_a_problem(dry_run, content, content_type, code):
    assert_problem(dry_run(content, content_type), 400 if code == "malformed_json" else 422, code)


def test_dry_run_needs_the_permission_of_an_import(alice, bob):
    token = alice.post("/auth/tokens", {"name": "a", "scopes": ["tasks:read"]}).json["token"]
    response = bob.client.post(
        "/api/v1/imports?dry_run=true",
        data="[]",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert_problem(response, 403, "insufficient_scope")


@pytest.mark.parametrize("value", ["1", "yes", "TRUE", ""])
def test_dry_run_is_true_or_false(alice, stored, value):
    response = alice.post(
        "/imports", data="[]", content_type="application/json", query_string={"dry_run": value}
    )
    assert parameters(response) == {"dry_run"}
    assert stored(select(Job.id)) == []


def test_form_can_be_tried_too(alice, stored):
    part = b'Content-Disposition: form-data; name="file"; filename="a.csv"'
    form = b"--x\r\n" + part + b"\r\n\r\ntitle\na\n\r\n--x--"
    response = alice.post(
        "/imports?dry_run=true", data=form, content_type="multipart/form-data; boundary=x"
    )
    assert (response.status_code, response.json["created"]) == (200, 1)
    assert stored(select(Job.id)) == []
