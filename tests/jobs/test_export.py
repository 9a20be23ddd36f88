"""Exports."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import icalendar
import pytest
import time_machine
from sqlalchemy import func, insert, select

from app.extensions import db
from app.jobs import exports
from app.jobs.models import FilePiece
from app.tasks.models import Task
from tests.factories import TaskRow
from tests.jobs.conftest import summary, tasks_of
from tests.problems import assert_problem

ROUND_TRIP_FIELDS = (
    *("title", "description", "status", "priority", "due_date", "due_at", "time_zone"),
    "position",
)
# What an import of an exported file does not read.
READ_ONLY = {"id", "version", "created_by", "created_at", "updated_at", "completed_at", "url"}
NOT_IMPORTED = {
    "json": READ_ONLY,
    "csv": READ_ONLY,
    "icalendar": {"UID", "DTSTAMP", "CREATED", "LAST-MODIFIED", "COMPLETED"},
}
EXAMPLES = [
    {"title": "plain"},
    {"title": 'quoted "twice", and\nbroken', "description": "a\n\nb; c\\n, d"},
    {"title": "=HYPERLINK(1)", "description": "+1 -1 @x", "priority": "urgent"},
    {"title": "day", "due_date": "2030-01-31", "time_zone": "Pacific/Auckland"},
    {"title": "time", "due_at": "2030-01-31T09:30:00Z", "priority": "low"},
    {"title": "time in a zone", "due_at": "2030-07-01T22:00:00Z", "time_zone": "America/New_York"},
    {"title": "started", "status": "in_progress", "priority": "medium", "position": "Zz"},
    {"title": "done", "status": "completed", "priority": "high", "position": "b05"},
    {"title": "cancelled 🎉 नमस्ते", "status": "cancelled", "time_zone": "Asia/Kathmandu"},
]


@pytest.fixture
def add_tasks(app):
    """Insert tasks directly into the table."""

    def insert_rows(user, count):
        rows = [TaskRow(created_by=user.id, title=f"{number}") for number in range(count)]
        with app.app_context():
            db.session.execute(insert(Task), rows)
            db.session.commit()

    return insert_rows


@pytest.mark.parametrize(
    ("name", "media_type", "file_name"),
    [
        ("json", "application/json", "tasks.json"),
        ("csv", "text/csv; charset=utf-8", "tasks.csv"),
        ("icalendar", "text/calendar; charset=utf-8", "tasks.ics"),
    ],
)
def test_result_has_media_type_and_file_name(alice, export_file, name, media_type, file_name):
    alice.task()
    response = export_file(alice, name)
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Content-Disposition"] == f'attachment; filename="{file_name}"'
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.content_length == len(response.data) > 0
    head = alice.call("HEAD", response.request.path.removeprefix("/api/v1"))
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == response.headers["Content-Length"]
    assert head.headers["Content-Type"] == media_type


@pytest.mark.parametrize(
    ("name", "accept", "status"),
    [
        ("csv", "text/csv", 200),
        ("csv", "text/*", 200),
        ("csv", "application/json", 406),
        ("json", "text/csv", 406),
        ("icalendar", "text/calendar;q=0", 406),
    ],
)
def test_result_respects_accept_header(alice, export_file, name, accept, status):
    file = export_file(alice, name)
    response = alice.get(file.request.path.removeprefix("/api/v1"), headers={"Accept": accept})
    if status == 406:
        assert_problem(response, 406, "not_acceptable")
    else:
        assert (response.status_code, response.data) == (200, file.data)


def test_export_contains_only_tasks_of_the_user(alice, bob, export_file):
    tasks = [alice.task(title) for title in ("b", "a", "c")]
    bob.task("bob's")
    assert export_file(alice, "json").json == {"tasks": tasks}
    rows = list(csv.DictReader(io.StringIO(export_file(alice, "csv").text, newline="")))
    assert rows == [
        {name: "" if value is None else str(value) for name, value in task.items()}
        for task in tasks
    ]
    calendar = icalendar.Calendar.from_ical(export_file(alice, "icalendar").data)
    assert [str(todo["SUMMARY"]) for todo in calendar.walk("VTODO")] == ["b", "a", "c"]


def test_export_without_tasks_is_a_valid_file(alice, export_file):
    assert export_file(alice, "json").json == {"tasks": []}
    assert export_file(alice, "csv").text.startswith("id,title,description,")
    assert export_file(alice, "icalendar").text.splitlines()[-1] == "END:VCALENDAR"


@pytest.mark.parametrize("name", ["json", "csv", "icalendar"])
def test_exported_file_can_be_imported_by_another_user(
    alice, bob, export_file, import_file, report, name
):
    for fields in EXAMPLES:
        alice.task(**fields)
    job = import_file(bob, export_file(alice, name).data, name)
    result = report(bob, job)
    assert result == summary(created=len(EXAMPLES), not_read=result["not_read"])
    assert result["not_read"].keys() == NOT_IMPORTED[name]
    exported, imported = (
        [tuple(task[name] for name in ROUND_TRIP_FIELDS) for task in tasks_of(user)]
        for user in (alice, bob)
    )
    assert imported == exported


def test_long_file_is_stored_in_pieces_and_contains_each_task_once(
    alice, add_tasks, export_file, stored, monkeypatch
):
    monkeypatch.setattr(exports, "BATCH_SIZE", 70)
    add_tasks(alice, 3000)
    tasks = export_file(alice, "json").json["tasks"]
    assert [task["title"] for task in tasks] == [f"{number}" for number in range(3000)]
    assert stored(select(func.count()).select_from(FilePiece)) > [(3,)]


def test_concurrent_changes_neither_skip_nor_repeat_a_task(
    alice, add_tasks, export_file, monkeypatch
):
    monkeypatch.setattr(exports, "BATCH_SIZE", 10)
    add_tasks(alice, 40)
    first, *_, last = tasks_of(alice)
    pages = exports._pages

    def changing(user_id):
        for number, page in enumerate(pages(user_id)):
            yield page
            other = alice.with_new_client()
            other.patch(f"/tasks/{first['id']}", {"position": f"z{number}"})
            if number == 1:
                other.delete(f"/tasks/{last['id']}")

    monkeypatch.setattr(exports, "_pages", changing)
    titles = [task["title"] for task in export_file(alice, "json").json["tasks"]]
    assert titles == [f"{number}" for number in range(39)]


def test_retry_starts_the_file_from_the_beginning(app, alice, add_tasks, drain, monkeypatch):
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr("app.jobs.files.PIECE_SIZE", 2000)
    monkeypatch.setattr(exports, "BATCH_SIZE", 5)
    add_tasks(alice, 40)
    pages = exports._pages

    def failing(user_id):
        yield from list(pages(user_id))[:4]
        raise RuntimeError

    job_id = alice.post("/exports", {"format": "json"}).json["id"]
    with monkeypatch.context() as patched:
        patched.setattr(exports, "_pages", failing)
        drain()
    job = alice.get(f"/jobs/{job_id}").json
    assert (job["state"], job["progress"]["total"]) == ("retrying", 40)
    assert job["progress"]["done"] > 0
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        drain()
    titles = [task["title"] for task in alice.get(f"/jobs/{job_id}/result").json["tasks"]]
    assert titles == [f"{number}" for number in range(40)]
    assert alice.get(f"/jobs/{job_id}").json["progress"] == {"done": 40, "total": 40}


def test_download_holds_no_connection_between_pieces(app, alice, add_tasks, drain, monkeypatch):
    monkeypatch.setattr("app.jobs.files.PIECE_SIZE", 2000)
    monkeypatch.setattr(exports, "BATCH_SIZE", 5)
    add_tasks(alice, 40)
    job_id = alice.post("/exports", {"format": "json"}).json["id"]
    drain()
    response = alice.get(f"/jobs/{job_id}/result", buffered=False)
    with app.app_context():
        pool = db.engine.pool
        before = pool.checkedout()
        pieces = []
        for piece in response.iter_encoded():
            assert pool.checkedout() == before
            pieces.append(piece)
    assert len(pieces) > 3
    assert len(json.loads(b"".join(pieces))["tasks"]) == 40


def test_download_takes_one_statement_per_piece(alice, export_file, statements):
    path = export_file(alice, "csv").request.path.removeprefix("/api/v1")
    with statements() as executed:
        assert alice.get(path).data.startswith(b"id,")
    assert len(executed) == 4  # the session, the job, the piece, and the end of the file
