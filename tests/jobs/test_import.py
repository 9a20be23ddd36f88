"""Imports: good rows become tasks, others are told with reasons, and all of it happens once."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select, update

from app.auth.models import User
from app.extensions import db
from app.jobs import imports
from app.jobs.models import File, FilePiece, Job
from app.outbox import items, work
from app.outbox.models import OutboxItem
from app.tasks.models import Task
from tests.jobs.conftest import tasks_of

GOOD = [{"title": "a"}, {"title": "b", "priority": "high"}, {"title": "c", "status": "completed"}]


def titles(account):
    return [task["title"] for task in tasks_of(account)]


def rows(count):
    return json.dumps([{"title": f"{number}"} for number in range(count)])


def test_good_rows_become_tasks_of_the_owner_as_the_api_makes_them(alice, import_file, report):
    alice.task("already there")
    job = import_file(alice, json.dumps({"tasks": GOOD}), "json")
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
    assert report(alice, job) == {"created": 3, "refused": 0, "rows": []}
    made = tasks_of(alice)
    assert [task["title"] for task in made] == ["already there", "a", "b", "c"]
    assert [task["position"] for task in made] == ["a0", "a1", "a2", "a3"]
    by_api = alice.task("c", status="completed")
    different = {"id", "url", "position", "created_at", "updated_at", "completed_at"}
    for name in by_api.keys() - different:
        assert made[3][name] == by_api[name], name
    assert made[3]["completed_at"] == made[3]["created_at"]


def test_imported_tasks_are_found_and_listed_at_once(alice, import_file):
    assert alice.get("/tasks").json["data"] == []
    import_file(alice, '[{"title": "Buy oat milk"}]', "json")
    assert len(alice.get("/tasks").json["data"]) == 1
    assert len(alice.get("/tasks", query_string={"q": "oat"}).json["data"]) == 1


def test_bad_rows_are_told_with_line_and_reasons_and_the_others_are_imported(
    alice, import_file, report
):
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
    told = report(alice, job)
    assert (told["created"], told["refused"]) == (2, 6)
    words = "none, low, medium, high, urgent"
    assert told["rows"] == [
        {
            "row": 2,
            "line": 3,
            "errors": [
                {"pointer": "/title", "detail": "Must not be empty."},
                {"pointer": "/priority", "detail": f"Must be one of: {words}."},
            ],
        },
        {"row": 3, "line": 4, "errors": [{"pointer": "/colour", "detail": "Unknown field."}]},
        {"row": 4, "line": 5, "errors": [{"pointer": "", "detail": "Must be an object."}]},
        {
            "row": 5,
            "line": 6,
            "errors": [{"pointer": "", "detail": "A key stands twice in one object."}],
        },
        {
            "row": 6,
            "line": 6,
            "errors": [{"pointer": "/due_date", "detail": "Must be a date, such as 2030-01-31."}],
        },
        {"row": 8, "line": 8, "errors": [{"pointer": "", "detail": "NaN is not a JSON value."}]},
    ]


def test_a_report_is_as_short_as_can_be_whatever_the_rows_are(alice, import_file, report):
    row = {"title": "x"} | {"x" * 5000 + str(number): 1 for number in range(20)}
    [told] = report(alice, import_file(alice, json.dumps([row]), "json"))["rows"]
    assert len(told["errors"]) == imports.MOST_FAULTS
    assert all(len(fault["pointer"]) <= imports.LONGEST_POINTER for fault in told["errors"])


@pytest.mark.parametrize("refused", [3, 4])
def test_too_many_refused_rows_end_an_import_and_what_was_made_stays(
    alice, import_file, report, monkeypatch, refused
):
    monkeypatch.setattr(imports, "CHUNK", 2)
    monkeypatch.setattr(imports, "MOST_REFUSED", 3)
    body = json.dumps([{"title": "first"}, *[{}] * refused, {"title": "last"}])
    job = import_file(alice, body, "json")
    told = report(alice, job)
    if refused == 3:
        assert (job["state"], titles(alice)) == ("succeeded", ["first", "last"])
        return
    assert (job["state"], job["problem"]["code"]) == ("failed", "validation_error")
    [fault] = job["problem"]["errors"]
    assert fault["detail"] == "More than 3 rows are refused; what follows was not read."
    assert titles(alice)[:1] == ["first"]
    assert told["created"] == len(titles(alice))
    assert told["refused"] == len(told["rows"]) == 4


@pytest.mark.parametrize(
    ("name", "content", "code", "detail"),
    [
        ("json", "", "malformed_json", "Line 1: this is not valid JSON."),
        ("json", '[{"title": "a"},\n{"title": }]', "malformed_json", None),
        ("json", '[{"title": "a"}', "malformed_json", "Line 1: this is not valid JSON."),
        ("json", "[" * 40 + "]" * 40, "malformed_json", "Line 1: nested more than 32 deep."),
        ("json", b'[{"title": "\xff"}]', "malformed_json", None),
        ("json", '{"todos": []}', "validation_error", None),
        ("csv", "", "validation_error", "The file is empty."),
        ("csv", "\r\n\r\n", "validation_error", "The file is empty."),
        ("csv", "title,colour\r\na,red\r\n", "validation_error", None),
        ("csv", "title,title\r\na,b\r\n", "validation_error", "The header has a column twice."),
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
def test_a_file_that_cant_be_read_fails_at_once_and_nothing_of_it_is_imported(
    alice, import_file, stored, name, content, code, detail
):
    job = import_file(alice, content, name, query_string={"format": name})
    assert (job["state"], job["result"], job["problem"]["code"]) == ("failed", None, code)
    assert job["problem"]["instance"] == f"/api/v1/jobs/{job['id']}"
    assert job["problem"]["request_id"]
    if detail:
        faults = job["problem"].get("errors", [job["problem"]])
        assert faults[0]["detail"] == detail
    assert titles(alice) == []
    assert stored(select(OutboxItem.id)) == []
    assert stored(select(FilePiece.number)) == []


def test_what_was_uploaded_is_kept_no_longer_than_it_is_needed(alice, import_file, stored):
    import_file(alice, rows(3), "json")
    assert stored(select(FilePiece.file).distinct()) == [(File.result,)]


def test_rows_without_a_position_go_last_in_their_order_and_others_where_they_say(
    alice, import_file, monkeypatch
):
    monkeypatch.setattr(imports, "CHUNK", 2)
    alice.task("first", position="a5")
    body = [{"title": "b"}, {"title": "c"}, {"title": "a", "position": "a0"}, {"title": "d"}]
    import_file(alice, json.dumps(body), "json")
    assert titles(alice) == ["a", "first", "b", "c", "d"]


class TestOnce:
    """However often it is tried, and by however many, each row has its effect once."""

    @pytest.fixture(autouse=True)
    def _small_chunks(self, app, monkeypatch):
        monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
        monkeypatch.setattr(imports, "CHUNK", 10)

    @pytest.fixture
    def sent(self, alice):
        def send(content):
            answer = alice.post("/imports", data=content, content_type="application/json")
            return answer.json["id"]

        return send

    @pytest.fixture
    def failing_at(self, monkeypatch):
        """Lets the chunk that follows so many rows fail, once."""

        def arm(place, error=RuntimeError):
            store, armed = imports._store, [True]

            def failing(at_hand, chunk, done, refused):
                store(at_hand, chunk, done, refused)
                if done == place and armed:
                    armed.clear()
                    raise error

            monkeypatch.setattr(imports, "_store", failing)

        return arm

    @pytest.mark.parametrize("place", [0, 10, 50, 90])
    def test_an_attempt_that_fails_is_taken_up_where_it_was(
        self, alice, sent, drain, failing_at, report, place
    ):
        failing_at(place)
        body = [{"title": f"{number}"} if number % 7 else {} for number in range(95)]
        job_id = sent(json.dumps(body))
        drain()
        told = alice.get(f"/jobs/{job_id}").json
        assert (told["state"], told["progress"]) == ("retrying", {"done": place, "total": 95})
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
            drain()
        told = alice.get(f"/jobs/{job_id}").json
        assert (told["state"], told["progress"]) == ("succeeded", {"done": 95, "total": 95})
        assert titles(alice) == [f"{number}" for number in range(95) if number % 7]
        refused = [row["row"] - 1 for row in report(alice, told)["rows"]]
        assert refused == list(range(0, 95, 7))

    def test_a_process_that_is_killed_is_stood_in_for(self, alice, sent, drain, failing_at):
        class Killed(BaseException):
            pass

        failing_at(50, Killed)
        job_id = sent(rows(95))
        with pytest.raises(Killed):
            drain()
        assert alice.get(f"/jobs/{job_id}").json["state"] == "running"
        with time_machine.travel(datetime.now(UTC) + items.LEASE + timedelta(seconds=1)):
            drain()
        assert titles(alice) == [f"{number}" for number in range(95)]

    def test_one_that_is_taken_over_writes_nothing_more(
        self, app, alice, sent, drain, monkeypatch, stored
    ):
        """As when its process was stopped for longer than a lease, and goes on."""
        store = imports._store
        others = []

        def overtaken(at_hand, chunk, done, refused):
            if done == 50 and not others:
                others.append(done)
                raise Overtaken
            store(at_hand, chunk, done, refused)

        class Overtaken(BaseException):
            pass

        monkeypatch.setattr(imports, "_store", overtaken)
        job_id = sent(rows(95))
        with pytest.raises(Overtaken):
            drain()
        monkeypatch.setattr(imports, "_store", store)
        with app.app_context():
            [(item_id, attempts)] = stored(select(OutboxItem.id, OutboxItem.attempts))
            row = db.session.get_one(OutboxItem, item_id)
            first = items.Claim(*(getattr(row, name) for name in items.Claim._fields))
            db.session.execute(update(OutboxItem).values(attempts=attempts + 1))
            db.session.commit()
            token = items.at_hand.set(first)
            with pytest.raises(items.Superseded):
                imports.run(job_id, alice.id, "json")
            items.at_hand.reset(token)
            db.session.remove()
        assert len(titles(alice)) == 50
        with time_machine.travel(datetime.now(UTC) + items.LEASE + timedelta(seconds=1)):
            drain()
        assert titles(alice) == [f"{number}" for number in range(95)]

    def test_one_that_is_hopeless_tells_what_it_did(
        self, alice, sent, drain, monkeypatch, report, stored
    ):
        store = imports._store

        def failing(at_hand, chunk, done, refused):
            if done == 20:
                raise RuntimeError
            store(at_hand, chunk, done, refused)

        monkeypatch.setattr(imports, "_store", failing)
        job_id = sent(json.dumps([{}, *[{"title": "x"}] * 30]))
        for attempt in range(work.ATTEMPTS):
            with time_machine.travel(datetime.now(UTC) + timedelta(hours=2 * attempt)):
                drain()
        told = alice.get(f"/jobs/{job_id}").json
        assert (told["state"], told["problem"]["code"]) == ("failed", "internal_error")
        assert told["progress"] == {"done": 20, "total": 31}
        result = report(alice, told)
        assert (result["created"], result["refused"]) == (19, 1)
        assert [row["row"] for row in result["rows"]] == [1]
        assert len(titles(alice)) == 19
        assert stored(select(func.count()).where(FilePiece.file == File.upload)) == [(0,)]

    def test_an_import_of_an_account_that_went_is_forgotten(
        self, alice, sent, drain, stored, monkeypatch
    ):
        sent(rows(20))
        assert alice.delete("/auth/me").status_code == 204
        drain()
        assert stored(select(OutboxItem.id)) == stored(select(Task.id)) == []
        assert stored(select(Job.id)) == []


def test_the_same_file_sent_twice_with_a_key_is_imported_once(alice, drain):
    key = {"Idempotency-Key": "import-1"}
    sent = [
        alice.post("/imports", data=rows(3), content_type="application/json", headers=key)
        for _ in range(2)
    ]
    assert sent[1].data == sent[0].data
    assert sent[1].headers["Idempotent-Replayed"] == "true"
    drain()
    assert titles(alice) == ["0", "1", "2"]
    other = alice.post("/imports", data=rows(4), content_type="application/json", headers=key)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_nobody_is_mailed_about_imported_tasks(app, alice, import_file, mails):
    with app.app_context():
        db.session.execute(update(User).values(email_verified=True))
        db.session.commit()
    assert alice.patch("/auth/me", {"notify_on_create": True}).status_code == 200
    mails.arrived()
    import_file(alice, rows(2), "json")
    assert mails.arrived() == []
    alice.task()
    assert len(mails.arrived()) == 1
