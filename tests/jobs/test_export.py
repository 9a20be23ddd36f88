"""Exports: every task once, in each format, whatever happens meanwhile."""

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
from tests.jobs.conftest import tasks_of
from tests.problems import assert_problem

CARRIED = (
    *("title", "description", "status", "priority", "due_date", "due_at", "time_zone"),
    "position",
)
VARIED = [
    {"title": "plain"},
    {"title": 'quoted "twice", and\nbroken', "description": "a\n\nb; c\\n, d"},
    {"title": "=HYPERLINK(1)", "description": "+1 -1 @x", "priority": "urgent"},
    {"title": "day", "due_date": "2030-01-31", "time_zone": "Pacific/Auckland"},
    {"title": "time", "due_at": "2030-01-31T09:30:00Z", "priority": "low"},
    {"title": "time there", "due_at": "2030-07-01T22:00:00Z", "time_zone": "America/New_York"},
    {"title": "started", "status": "in_progress", "priority": "medium", "position": "Zz"},
    {"title": "done", "status": "completed", "priority": "high", "position": "b05"},
    {"title": "called off 🎉 नमस्ते", "status": "cancelled", "time_zone": "Asia/Kathmandu"},
]


@pytest.fixture
def put(app):
    """Puts tasks into the table."""

    def insert_rows(account, count):
        rows = [TaskRow(created_by=account.id, title=f"{number}") for number in range(count)]
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
def test_a_file_is_told_as_what_it_is(alice, export_file, name, media_type, file_name):
    alice.task()
    answer = export_file(alice, name)
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{file_name}"'
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.content_length == len(answer.data) > 0
    head = alice.call("HEAD", answer.request.path.removeprefix("/api/v1"))
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]
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
def test_a_file_goes_to_who_accepts_it(alice, export_file, name, accept, status):
    file = export_file(alice, name)
    answer = alice.get(file.request.path.removeprefix("/api/v1"), headers={"Accept": accept})
    if status == 406:
        assert_problem(answer, 406, "not_acceptable")
    else:
        assert (answer.status_code, answer.data) == (200, file.data)


def test_an_export_has_all_of_ones_tasks_and_nobody_elses(alice, bob, export_file):
    mine = [alice.task(title) for title in ("b", "a", "c")]
    bob.task("bob's")
    assert export_file(alice, "json").json == {"tasks": mine}
    rows = list(csv.DictReader(io.StringIO(export_file(alice, "csv").text, newline="")))
    assert rows == [
        {name: "" if value is None else str(value) for name, value in task.items()} for task in mine
    ]
    calendar = icalendar.Calendar.from_ical(export_file(alice, "icalendar").data)
    assert [str(todo["SUMMARY"]) for todo in calendar.walk("VTODO")] == ["b", "a", "c"]


def test_an_export_of_nothing_is_a_whole_file(alice, export_file):
    assert export_file(alice, "json").json == {"tasks": []}
    assert export_file(alice, "csv").text.startswith("id,title,description,")
    assert export_file(alice, "icalendar").text.splitlines()[-1] == "END:VCALENDAR"


@pytest.mark.parametrize("name", ["json", "csv", "icalendar"])
def test_what_is_exported_is_imported_into_another_account_as_it_was(
    alice, bob, export_file, import_file, report, name
):
    for fields in VARIED:
        alice.task(**fields)
    job = import_file(bob, export_file(alice, name).data, name)
    assert report(bob, job) == {"created": len(VARIED), "refused": 0, "rows": []}
    told, found = ([tuple(t[n] for n in CARRIED) for t in tasks_of(who)] for who in (alice, bob))
    assert found == told


def test_a_long_file_is_in_pieces_and_every_task_is_in_it_once(
    alice, put, export_file, stored, monkeypatch
):
    monkeypatch.setattr(exports, "CHUNK", 70)
    put(alice, 3000)
    told = export_file(alice, "json").json["tasks"]
    assert [task["title"] for task in told] == [f"{number}" for number in range(3000)]
    assert stored(select(func.count()).select_from(FilePiece)) > [(3,)]


def test_what_is_written_meanwhile_neither_hides_nor_doubles_another(
    alice, put, export_file, monkeypatch
):
    monkeypatch.setattr(exports, "CHUNK", 10)
    put(alice, 40)
    first, *_, last = tasks_of(alice)
    pages = exports._pages

    def disturbed(owner_id):
        for number, page in enumerate(pages(owner_id)):
            yield page
            other = alice.again()
            other.patch(f"/tasks/{first['id']}", {"position": f"z{number}"})
            if number == 1:
                other.delete(f"/tasks/{last['id']}")

    monkeypatch.setattr(exports, "_pages", disturbed)
    told = [task["title"] for task in export_file(alice, "json").json["tasks"]]
    assert told == [f"{number}" for number in range(39)]


def test_an_attempt_that_failed_leaves_nothing_in_the_next_ones_file(
    app, alice, put, drain, monkeypatch
):
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr("app.jobs.files.SIZE", 2000)
    monkeypatch.setattr(exports, "CHUNK", 5)
    put(alice, 40)
    pages = exports._pages

    def failing(owner_id):
        yield from list(pages(owner_id))[:4]
        raise RuntimeError

    job_id = alice.post("/exports", {"format": "json"}).json["id"]
    with monkeypatch.context() as patched:
        patched.setattr(exports, "_pages", failing)
        drain()
    told = alice.get(f"/jobs/{job_id}").json
    assert (told["state"], told["progress"]["total"]) == ("retrying", 40)
    assert told["progress"]["done"] > 0
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        drain()
    titles = [task["title"] for task in alice.get(f"/jobs/{job_id}/result").json["tasks"]]
    assert titles == [f"{number}" for number in range(40)]
    assert alice.get(f"/jobs/{job_id}").json["progress"] == {"done": 40, "total": 40}


def test_a_file_is_read_piece_by_piece_and_no_connection_is_kept_between(
    app, alice, put, drain, monkeypatch
):
    monkeypatch.setattr("app.jobs.files.SIZE", 2000)
    monkeypatch.setattr(exports, "CHUNK", 5)
    put(alice, 40)
    job_id = alice.post("/exports", {"format": "json"}).json["id"]
    drain()
    answer = alice.get(f"/jobs/{job_id}/result", buffered=False)
    with app.app_context():
        pool = db.engine.pool
        before = pool.checkedout()
        read = []
        for piece in answer.iter_encoded():
            assert pool.checkedout() == before
            read.append(piece)
    assert len(read) > 3
    assert len(json.loads(b"".join(read))["tasks"]) == 40


def test_reading_a_result_takes_a_statement_a_piece(alice, export_file, statements):
    path = export_file(alice, "csv").request.path.removeprefix("/api/v1")
    with statements() as seen:
        assert alice.get(path).data.startswith(b"id,")
    assert len(seen) == 4  # the door, the job, the piece, and that there is no other
