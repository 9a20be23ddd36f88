"""Imports."""

import codecs
import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select, update

from app.auth.models import User
from app.extensions import db
from app.jobs import imports, reports
from app.jobs.formats.base import MAX_NAME_LENGTH
from app.jobs.models import FilePiece, Job, JobFile
from app.outbox import dispatcher, leases
from app.outbox.models import OutboxMessage
from app.tasks.models import Task
from tests.jobs.conftest import summary, tasks_of

VALID = [{"title": "a"}, {"title": "b", "priority": "high"}, {"title": "c", "status": "completed"}]


def titles(user):
    return [task["title"] for task in tasks_of(user)]


def rows(count):
    return json.dumps([{"title": f"{number}"} for number in range(count)])


def test_valid_rows_become_tasks_like_those_of_the_api(alice, import_file, report):
    alice.task("already there")
    job = import_file(alice, json.dumps({"tasks": VALID}), "json")
    assert job | {"id": 1, "url": "", "created_at": "", "finished_at": "", "result": ""} == {
        "id": 1,
        "kind": "import",
        "format": "json",
        "state": "succeeded",
        "progress": {"done": 3, "total": 3},
        "result": "",
        "problem": None,
        "created_at": "",
        "finished_at": "",
        "url": "",
    }
    assert report(alice, job) == summary(created=3)
    tasks = tasks_of(alice)
    assert [task["title"] for task in tasks] == ["already there", "a", "b", "c"]
    assert [task["position"] for task in tasks] == ["a0", "a1", "a2", "a3"]
    by_api = alice.task("c", status="completed")
    different = {"id", "url", "position", "created_at", "updated_at", "completed_at"}
    for name in by_api.keys() - different:
        assert tasks[3][name] == by_api[name], name
    assert tasks[3]["completed_at"] == tasks[3]["created_at"]


def test_imported_tasks_are_listed_and_searchable(alice, import_file):
    assert alice.get("/tasks").json["data"] == []
    import_file(alice, '[{"title": "Buy oat milk"}]', "json")
    assert len(alice.get("/tasks").json["data"]) == 1
    assert len(alice.get("/tasks", query_string={"q": "oat"}).json["data"]) == 1


def test_invalid_rows_are_reported_and_the_others_imported(alice, import_file, report):
    body = """[
      {"title": "good"},
      {"title": "", "priority": "extreme"},
      {"title": "x", "colour": "red"},
      3,
      {"title": "x", "title": "y"}, {"title": "x", "due_date": "2030-02-31"},
      {"title": "also good"},
      {"title": "x", "a": NaN}
    ]"""
    job = import_file(alice, body, "json")
    assert (job["state"], job["progress"]) == ("succeeded", {"done": 8, "total": 8})
    assert titles(alice) == ["good", "also good"]
    result = report(alice, job)
    assert (result["created"], result["refused"]) == (2, 6)
    priorities = "none, low, medium, high, urgent"
    assert result["rows"] == [
        {
            "row": 2,
            "line": 3,
            "errors": [
                {"pointer": "/title", "detail": "Must not be empty."},
                {"pointer": "/priority", "detail": f"Must be one of: {priorities}."},
            ],
        },
        {"row": 3, "line": 4, "errors": [{"pointer": "/colour", "detail": "Unknown field."}]},
        {"row": 4, "line": 5, "errors": [{"pointer": "", "detail": "Must be an object."}]},
        {
            "row": 5,
            "line": 6,
            "errors": [{"pointer": "", "detail": "An object has the same key twice."}],
        },
        {
            "row": 6,
            "line": 6,
            "errors": [{"pointer": "/due_date", "detail": "Must be a date, such as 2030-01-31."}],
        },
        {"row": 8, "line": 8, "errors": [{"pointer": "", "detail": "NaN is not a JSON value."}]},
    ]


def test_report_limits_errors_and_pointers(alice, import_file, report):
    row = {"title": "x"} | {"x" * 5000 + str(number): 1 for number in range(20)}
    [entry] = report(alice, import_file(alice, json.dumps([row]), "json"))["rows"]
    assert len(entry["errors"]) == reports.MAX_ERRORS_PER_ROW
    assert all(len(error["pointer"]) <= MAX_NAME_LENGTH for error in entry["errors"])


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff"])
@pytest.mark.parametrize("name", ["json", "google_tasks"])
def test_name_with_a_lone_surrogate_is_reported(alice, import_file, report, name, escape):
    task = f'[{{"title": "a", "{escape}b": 1}}]'
    content = task if name == "json" else f'{{"items": {task}}}'
    job = import_file(alice, content, name, query_string={"format": name})
    [row] = report(alice, job)["rows"]
    assert row["errors"] == [{"pointer": f"/{escape}b", "detail": "Unknown field."}]


@pytest.mark.parametrize("refused", [3, 4])
def test_too_many_invalid_rows_end_the_import_and_keep_created_tasks(
    alice, import_file, report, monkeypatch, refused
):
    monkeypatch.setattr(reports, "BATCH_SIZE", 2)
    monkeypatch.setattr(imports, "MAX_INVALID_ROWS", 3)
    body = json.dumps([{"title": "first"}, *[{}] * refused, {"title": "last"}])
    job = import_file(alice, body, "json")
    result = report(alice, job)
    if refused == 3:
        assert (job["state"], titles(alice)) == ("succeeded", ["first", "last"])
        return
    assert (job["state"], job["problem"]["code"]) == ("failed", "validation_error")
    [error] = job["problem"]["errors"]
    assert error["detail"] == "More than 3 rows are invalid; the rest of the file was not read."
    assert titles(alice)[:1] == ["first"]
    assert result["created"] == len(titles(alice))
    assert result["refused"] == len(result["rows"]) == 4


@pytest.mark.parametrize(
    ("name", "content", "code", "detail"),
    [
        ("json", "", "malformed_json", "Line 1: this is not valid JSON."),
        ("json", '[{"title": "a"},\n{"title": }]', "malformed_json", None),
        ("json", '[{"title": "a"}', "malformed_json", "Line 1: this is not valid JSON."),
        ("json", "[" * 40 + "]" * 40, "malformed_json", "Line 1: nested more than 32 levels deep."),
        ("json", b'[{"title": "\xff"}]', "malformed_json", None),
        ("json", '{"todos": []}', "validation_error", None),
        ("csv", "", "validation_error", "The file is empty."),
        ("csv", "\r\n\r\n", "validation_error", "The file is empty."),
        ("csv", "title,colour\r\na,red\r\n", "validation_error", None),
        ("csv", "title,title\r\na,b\r\n", "validation_error", "The header has a duplicate column."),
        ("csv", "priority\r\nlow\r\n", "validation_error", "The header has no column title."),
        ("csv", b"title\r\n\xff\r\n", "validation_error", "Line 2 is not UTF-8."),
        ("csv", 'title\r\na\r\n"never ends\r\n', "validation_error", None),
        ("csv", 'title\r\n"a" b\r\n', "validation_error", None),
        ("todoist", "TYPE,NAME\r\ntask,a\r\n", "validation_error", None),
        ("icalendar", "", "validation_error", "The file ends before its VCALENDAR does."),
        ("icalendar", "BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nSUMMARY:x\r\n", "validation_error", None),
        ("icalendar", "SUMMARY:x\r\n", "validation_error", None),
        (
            "icalendar",
            b"BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nSUMMARY:\xff\r\nEND:VTODO\r\nEND:VCALENDAR\r\n",
            "validation_error",
            "Line 3 is not UTF-8.",
        ),
    ],
)
def test_unreadable_file_fails_and_imports_nothing(
    alice, import_file, stored, name, content, code, detail
):
    job = import_file(alice, content, name, query_string={"format": name})
    assert (job["state"], job["result"], job["problem"]["code"]) == ("failed", None, code)
    assert job["problem"]["instance"] == f"/api/v1/jobs/{job['id']}"
    assert job["problem"]["request_id"]
    if detail:
        errors = job["problem"].get("errors", [job["problem"]])
        assert errors[0]["detail"] == detail
    assert titles(alice) == []
    assert stored(select(OutboxMessage.id)) == []
    assert stored(select(FilePiece.number)) == []


CALENDAR = "BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nSUMMARY:Zürich\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
FILES = {
    "csv": "title,description\r\nZürich,\r\n",
    "todoist": "TYPE,CONTENT,PRIORITY\r\ntask,Zürich,4\r\n",
    "json": '[{"title":\r\n"Zürich"}]\r\n',
    "icalendar": CALENDAR,
}
ENCODINGS = {
    "UTF-8": str.encode,
    "UTF-8 with a BOM": lambda text: text.encode("utf-8-sig"),
    "UTF-16 LE": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16 BE": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "CR": lambda text: text.replace("\r\n", "\r").encode(),
    "LF": lambda text: text.replace("\r\n", "\n").encode(),
    "CR in UTF-16": lambda text: text.replace("\r\n", "\r").encode("utf-16"),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("name", FILES)
def test_file_is_read_in_every_encoding_with_every_line_end(
    alice, import_file, report, name, encode
):
    # The format of Todoist's files is detected from their header.
    media_type = "csv" if name == "todoist" else name
    job = import_file(alice, encode(FILES[name]), media_type)
    assert (job["format"], job["state"]) == (name, "succeeded")
    assert report(alice, job) == summary(created=1)
    assert titles(alice) == ["Zürich"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", ["a".encode("utf-16") + b"\x00", b"\xff\xfe\x00\xd8\x00\xd8", b"\xfe\xff\xdc"]
)
def test_invalid_utf16_fails_and_imports_nothing(alice, import_file, name, content):
    job = import_file(alice, content, name, query_string={"format": name})
    assert job["state"] == "failed"
    assert job["problem"]["code"] in {"validation_error", "malformed_json"}
    if name != "json":  # which may have another structure before
        assert job["problem"]["errors"][0]["detail"].startswith("Line 1")
    assert titles(alice) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("code", [0xD800, 0xDC80, 0xDCFF, 0xDFFF])
def test_lone_surrogate_in_utf16_fails_with_its_line(alice, import_file, name, code):
    text = FILES[name].replace("Zürich", f"{chr(code)}")
    content = codecs.BOM_UTF16_LE + text.encode("utf-16-le", "surrogatepass")
    job = import_file(alice, content, name, query_string={"format": name})
    [error] = job["problem"].get("errors", [job["problem"]])
    # The line on which the row begins.
    line = {"csv": 2, "todoist": 2, "json": 1, "icalendar": 3}[name]
    assert error["detail"].startswith(f"Line {line}")
    assert "not UTF-16" in error["detail"]
    assert titles(alice) == []


def test_charset_utf16_is_accepted(alice, import_file):
    content = FILES["csv"].encode("utf-16")
    media_type = "text/csv; charset=UTF-16"
    response = alice.post("/imports", data=content, content_type=media_type)
    assert response.status_code == 202


def test_upload_is_deleted_when_the_job_finishes(alice, import_file, stored):
    import_file(alice, rows(3), "json")
    assert stored(select(FilePiece.file).distinct()) == [(JobFile.result,)]


def test_rows_without_position_go_last_in_file_order(alice, import_file, monkeypatch):
    monkeypatch.setattr(reports, "BATCH_SIZE", 2)
    alice.task("first", position="a5")
    body = [{"title": "b"}, {"title": "c"}, {"title": "a", "position": "a0"}, {"title": "d"}]
    import_file(alice, json.dumps(body), "json")
    assert titles(alice) == ["a", "first", "b", "c", "d"]


class TestRetry:
    """Each row has its effect once, however many attempts and workers there are."""

    @pytest.fixture(autouse=True)
    def _small_batches(self, app, monkeypatch):
        monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
        monkeypatch.setattr(reports, "BATCH_SIZE", 10)

    @pytest.fixture
    def create_job(self, alice):
        def send(content):
            response = alice.post("/imports", data=content, content_type="application/json")
            return response.json["id"]

        return send

    @pytest.fixture
    def failing_at(self, monkeypatch):
        """Make the batch after this number of rows fail once."""

        def arm(processed, error=RuntimeError):
            store, armed = imports._store, [True]

            def failing(running, batch, done, refused):
                store(running, batch, done, refused)
                if done == processed and armed:
                    armed.clear()
                    raise error

            monkeypatch.setattr(imports, "_store", failing)

        return arm

    @pytest.mark.parametrize("processed", [0, 10, 50, 90])
    def test_retry_continues_where_the_attempt_failed(
        self, alice, create_job, drain, failing_at, report, processed
    ):
        failing_at(processed)
        body = [{"title": f"{number}"} if number % 7 else {} for number in range(95)]
        job_id = create_job(json.dumps(body))
        drain()
        job = alice.get(f"/jobs/{job_id}").json
        assert (job["state"], job["progress"]) == ("retrying", {"done": processed, "total": 95})
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
            drain()
        job = alice.get(f"/jobs/{job_id}").json
        assert (job["state"], job["progress"]) == ("succeeded", {"done": 95, "total": 95})
        assert titles(alice) == [f"{number}" for number in range(95) if number % 7]
        refused = [row["row"] - 1 for row in report(alice, job)["rows"]]
        assert refused == list(range(0, 95, 7))

    def test_another_worker_continues_after_a_kill(self, alice, create_job, drain, failing_at):
        class Killed(BaseException):
            pass

        failing_at(50, Killed)
        job_id = create_job(rows(95))
        with pytest.raises(Killed):
            drain()
        assert alice.get(f"/jobs/{job_id}").json["state"] == "running"
        with time_machine.travel(datetime.now(UTC) + leases.LEASE + timedelta(seconds=1)):
            drain()
        assert titles(alice) == [f"{number}" for number in range(95)]

    def test_worker_that_lost_its_lease_writes_nothing(
        self, app, alice, create_job, drain, monkeypatch, stored
    ):
        """For example because its process was suspended for longer than the lease."""
        store = imports._store
        interrupted = []

        def interrupted_store(running, batch, done, refused):
            if done == 50 and not interrupted:
                interrupted.append(done)
                raise Interrupted
            store(running, batch, done, refused)

        class Interrupted(BaseException):
            pass

        monkeypatch.setattr(imports, "_store", interrupted_store)
        job_id = create_job(rows(95))
        with pytest.raises(Interrupted):
            drain()
        monkeypatch.setattr(imports, "_store", store)
        with app.app_context():
            [(item_id, attempts)] = stored(select(OutboxMessage.id, OutboxMessage.attempts))
            row = db.session.get_one(OutboxMessage, item_id)
            first = leases.LeasedMessage(
                *(getattr(row, name) for name in leases.LeasedMessage._fields)
            )
            db.session.execute(update(OutboxMessage).values(attempts=attempts + 1))
            db.session.commit()
            token = leases.current_message.set(first)
            with pytest.raises(leases.LeaseLost):
                imports.run(job_id, alice.id, "json")
            leases.current_message.reset(token)
            db.session.remove()
        assert len(titles(alice)) == 50
        with time_machine.travel(datetime.now(UTC) + leases.LEASE + timedelta(seconds=1)):
            drain()
        assert titles(alice) == [f"{number}" for number in range(95)]

    def test_failed_import_reports_what_it_imported(
        self, alice, create_job, drain, monkeypatch, report, stored
    ):
        store = imports._store

        def failing(running, batch, done, refused):
            if done == 20:
                raise RuntimeError
            store(running, batch, done, refused)

        monkeypatch.setattr(imports, "_store", failing)
        job_id = create_job(json.dumps([{}, *[{"title": "x"}] * 30]))
        for attempt in range(dispatcher.MAX_ATTEMPTS):
            with time_machine.travel(datetime.now(UTC) + timedelta(hours=2 * attempt)):
                drain()
        job = alice.get(f"/jobs/{job_id}").json
        assert (job["state"], job["problem"]["code"]) == ("failed", "internal_error")
        assert job["progress"] == {"done": 20, "total": 31}
        result = report(alice, job)
        assert (result["created"], result["refused"]) == (19, 1)
        assert [row["row"] for row in result["rows"]] == [1]
        assert len(titles(alice)) == 19
        assert stored(select(func.count()).where(FilePiece.file == JobFile.upload)) == [(0,)]

    def test_import_of_a_deleted_user_is_skipped(
        self, alice, create_job, drain, stored, monkeypatch
    ):
        create_job(rows(20))
        assert alice.delete("/auth/me").status_code == 204
        drain()
        assert stored(select(OutboxMessage.id)) == stored(select(Task.id)) == []
        assert stored(select(Job.id)) == []


def test_repeated_import_with_idempotency_key_runs_once(alice, drain):
    key = {"Idempotency-Key": "import-1"}
    responses = [
        alice.post("/imports", data=rows(3), content_type="application/json", headers=key)
        for _ in range(2)
    ]
    assert responses[1].data == responses[0].data
    assert responses[1].headers["Idempotent-Replayed"] == "true"
    drain()
    assert titles(alice) == ["0", "1", "2"]
    other = alice.post("/imports", data=rows(4), content_type="application/json", headers=key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_imported_tasks_send_no_mail(app, alice, import_file, mails):
    with app.app_context():
        db.session.execute(update(User).values(email_verified=True))
        db.session.commit()
    assert alice.patch("/auth/me", {"notify_on_create": True}).status_code == 200
    mails.arrived()
    import_file(alice, rows(2), "json")
    assert mails.arrived() == []
    alice.task()
    assert len(mails.arrived()) == 1
