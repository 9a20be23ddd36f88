"""The resource that tells how a job is going: whose it is, what it tells, how long it is kept."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from app.jobs import services
from app.jobs.models import FilePiece, Job
from app.outbox import work
from tests.problems import assert_problem, parameters, pointers

URL = "http://127.0.0.1:5000/api/v1/jobs"


@pytest.fixture
def job(alice):
    return alice.post("/exports", {"format": "csv"}).json


def test_an_export_is_accepted_and_told_where_it_is(alice):
    answer = alice.post("/exports", {"format": "json"})
    assert answer.status_code == 202
    told = answer.json
    assert answer.headers["Location"] == told["url"] == f"{URL}/{told['id']}"
    assert told | {"id": 1, "url": "", "created_at": ""} == {
        "id": 1,
        "kind": "export",
        "format": "json",
        "state": "queued",
        "progress": {"done": 0, "total": None},
        "result": None,
        "problem": None,
        "created_at": "",
        "finished_at": None,
        "url": "",
    }
    assert alice.get(f"/jobs/{told['id']}").json == told


@pytest.mark.parametrize("body", [{}, {"format": "todoist"}, {"format": None}, {"format": "xml"}])
def test_a_format_that_is_not_written_is_refused(alice, stored, body):
    assert pointers(alice.post("/exports", body)) == {"/format"}
    assert stored(select(Job.id)) == []


def test_a_finished_job_tells_its_result(alice, job, drain):
    alice.task()
    drain()
    told = alice.get(f"/jobs/{job['id']}").json
    assert (told["state"], told["progress"]) == ("succeeded", {"done": 1, "total": 1})
    assert told["result"] == f"{job['url']}/result"
    assert told["finished_at"] >= told["created_at"]


def test_there_is_no_result_before_the_end(alice, job):
    answer = alice.get(f"/jobs/{job['id']}/result")
    assert_problem(
        answer, 404, "not_found", detail="The job has no result, or none yet; its state tells."
    )


def test_a_job_is_its_owners_alone(alice, bob, admin, job, drain):
    drain()
    for other in (bob, admin):
        for path in (f"/jobs/{job['id']}", f"/jobs/{job['id']}/result"):
            told = "There is nothing here that you may see."
            assert_problem(other.get(path), 404, "not_found", detail=told)
        assert other.get("/jobs").json["data"] == []
    assert alice.get(f"/jobs/{job['id']}/result").status_code == 200


def test_jobs_are_listed_newest_first_in_pages(alice):
    made = [alice.post("/exports", {"format": "csv"}).json["id"] for _ in range(5)]
    first = alice.get("/jobs", query_string={"limit": 3}).json
    query = {"limit": 3, "cursor": first["next_cursor"]}
    second = alice.get("/jobs", query_string=query).json
    assert [one["id"] for one in first["data"] + second["data"]] == made[::-1]
    assert first["data"][0] == alice.get(f"/jobs/{made[-1]}").json
    assert second["next_cursor"] is None
    oldest = alice.get("/jobs", query_string={"sort": "created_at"}).json["data"]
    assert [one["id"] for one in oldest] == made


def test_jobs_are_filtered_by_kind_and_state(alice, job, drain):
    drain()
    waiting = alice.post("/imports", data=b"[]", content_type="application/json").json
    for query, found in {
        "kind=import": [waiting["id"]],
        "kind=export": [job["id"]],
        "kind=export,import": [waiting["id"], job["id"]],
        "state=queued": [waiting["id"]],
        "state=succeeded,failed&kind=export": [job["id"]],
        "state=running,retrying": [],
    }.items():
        listed = alice.get(f"/jobs?{query}").json["data"]
        assert [one["id"] for one in listed] == found, query
    assert parameters(alice.get("/jobs?kind=backup&state=done&sort=id")) == {
        "kind",
        "state",
        "sort",
    }


def test_an_export_asked_for_twice_with_a_key_is_made_once(alice, stored, drain):
    key = {"Idempotency-Key": "backup-1"}
    first = alice.post("/exports", {"format": "csv"}, headers=key)
    drain()
    again = alice.post("/exports", {"format": "csv"}, headers=key)
    assert (again.status_code, again.data) == (202, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert stored(select(func.count()).select_from(Job)) == [(1,)]


@pytest.mark.parametrize(
    ("scope", "call", "status"),
    [
        ("tasks:read", ("POST", "/exports", {"format": "csv"}), 202),
        ("tasks:read", ("GET", "/jobs", None), 200),
        ("tasks:write", ("POST", "/exports", {"format": "csv"}), 403),
        ("tasks:write", ("GET", "/jobs", None), 403),
        ("tasks:write", ("POST", "/imports", []), 202),
        ("tasks:read", ("POST", "/imports", []), 403),
    ],
)
def test_a_personal_token_reads_with_one_scope_and_imports_with_the_other(
    alice, stored, scope, call, status
):
    asked = {"name": "script", "scopes": [scope]}
    alice.access_token = alice.post("/auth/tokens", asked).json["token"]
    method, path, body = call
    answer = alice.call(method, path, json=body)
    if status == 403:
        assert_problem(answer, 403, "insufficient_scope")
    assert answer.status_code == status
    assert stored(select(func.count()).select_from(Job)) == [(int(status == 202),)]


def test_more_unfinished_jobs_than_ten_are_a_conflict_and_finished_ones_make_room(
    alice, bob, at_once, drain, stored
):
    answers = at_once(alice, [("POST", "/exports", {"format": "csv"})] * 12)
    told = [answer for answer in answers if answer.status_code == 409]
    assert len(told) == 2
    for answer in told:
        assert_problem(
            answer, 409, "conflict", detail="10 jobs are unfinished; wait for one of them."
        )
    assert bob.post("/exports", {"format": "csv"}).status_code == 202
    assert alice.post("/imports", data=b"[]", content_type="application/json").status_code == 409
    assert stored(select(func.count()).select_from(FilePiece)) == [(0,)]
    drain()
    assert alice.post("/exports", {"format": "csv"}).status_code == 202


def test_of_finished_jobs_the_newest_twenty_are_kept(alice, bob, drain, stored):
    bobs = bob.post("/exports", {"format": "csv"}).json["id"]
    made = []
    for _ in range(23):
        made.append(alice.post("/exports", {"format": "csv"}).json["id"])
        drain()
    kept = [one["id"] for one in alice.get("/jobs").json["data"]]
    assert kept == made[:1:-1]  # twenty that were finished, and the one that was asked for then
    pieces = stored(select(FilePiece.job_id).distinct())
    assert {job_id for (job_id,) in pieces} == {bobs, *kept}


def test_a_failed_attempt_is_retried_and_a_hopeless_one_is_told(
    app, alice, job, drain, monkeypatch, stored
):
    def fail(*_):
        raise RuntimeError("the secret of the inside")

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr("app.jobs.exports._pages", fail)
    alice.task()
    path = f"/jobs/{job['id']}"
    drain()
    assert alice.get(path).json["state"] == "retrying"
    for attempt in range(1, work.ATTEMPTS):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=2 * attempt)):
            assert drain() == 1
    told = alice.get(path).json
    assert (told["state"], told["result"]) == ("failed", None)
    assert told["problem"]["code"] == "internal_error"
    assert told["problem"]["instance"] == f"/api/v1{path}"
    assert "secret" not in str(told)
    assert told["finished_at"]
    assert stored(select(FilePiece.number)) == []


def test_what_ended_long_ago_is_purged_with_its_files(app, alice, drain, stored):
    alice.post("/exports", {"format": "csv"})
    drain()
    alice.post("/imports", data=b"[]", content_type="application/json")  # never done
    with time_machine.travel(datetime.now(UTC) + timedelta(days=6)):
        recent = alice.again().post("/exports", {"format": "csv"}).json["id"]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=8)), app.app_context():
        assert services.purge(days=7) == 2
        assert services.purge(days=7) == 0
    assert stored(select(Job.id)) == [(recent,)]
    assert stored(select(FilePiece.job_id)) == []


def test_an_account_that_is_deleted_takes_its_jobs_and_files_along(alice, bob, drain, stored):
    alice.task()
    for account in (alice, bob):
        account.post("/exports", {"format": "csv"})
    drain()
    alice.post("/imports", data=b'[{"title": "x"}]', content_type="application/json")
    assert alice.delete("/auth/me").status_code == 204
    drain()
    assert {owner for (owner,) in stored(select(Job.user_id))} == {bob.id}
    assert len(stored(select(FilePiece.job_id))) == 1


def test_reading_jobs_takes_few_statements(alice, job, drain, statements):
    drain()
    for path in ("/jobs", f"/jobs/{job['id']}"):
        with statements() as seen:
            assert alice.get(path).status_code == 200
        assert len(seen) == 2  # the door, and the rows
