"""The resource of jobs."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from app.jobs import services
from app.jobs.models import FilePiece, Job
from app.outbox import dispatcher
from tests.problems import assert_problem, parameters, pointers

URL = "http://127.0.0.1:5000/api/v1/jobs"


@pytest.fixture
def job(alice):
    return alice.post("/exports", {"format": "csv"}).json


def test_export_is_accepted_with_location(alice):
    response = alice.post("/exports", {"format": "json"})
    assert response.status_code == 202
    job = response.json
    assert response.headers["Location"] == job["url"] == f"{URL}/{job['id']}"
    assert job | {"id": 1, "url": "", "created_at": ""} == {
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
    assert alice.get(f"/jobs/{job['id']}").json == job


@pytest.mark.parametrize("body", [{}, {"format": "todoist"}, {"format": None}, {"format": "xml"}])
def test_invalid_export_format_is_rejected(alice, stored, body):
    assert pointers(alice.post("/exports", body)) == {"/format"}
    assert stored(select(Job.id)) == []


def test_finished_job_links_to_its_result(alice, job, drain):
    alice.task()
    drain()
    finished = alice.get(f"/jobs/{job['id']}").json
    assert (finished["state"], finished["progress"]) == ("succeeded", {"done": 1, "total": 1})
    assert finished["result"] == f"{job['url']}/result"
    assert finished["finished_at"] >= finished["created_at"]


def test_unfinished_job_has_no_result(alice, job):
    response = alice.get(f"/jobs/{job['id']}/result")
    assert_problem(
        response, 404, "not_found", detail="The job has no result, or none yet. Check its state."
    )


def test_only_the_owner_sees_a_job(alice, bob, admin, job, drain):
    drain()
    for other in (bob, admin):
        for path in (f"/jobs/{job['id']}", f"/jobs/{job['id']}/result"):
            detail = "The resource was not found."
            assert_problem(other.get(path), 404, "not_found", detail=detail)
        assert other.get("/jobs").json["data"] == []
    assert alice.get(f"/jobs/{job['id']}/result").status_code == 200


def test_jobs_are_listed_newest_first(alice):
    ids = [alice.post("/exports", {"format": "csv"}).json["id"] for _ in range(5)]
    first = alice.get("/jobs", query_string={"limit": 3}).json
    query = {"limit": 3, "cursor": first["next_cursor"]}
    second = alice.get("/jobs", query_string=query).json
    assert [job["id"] for job in first["data"] + second["data"]] == ids[::-1]
    assert first["data"][0] == alice.get(f"/jobs/{ids[-1]}").json
    assert second["next_cursor"] is None
    oldest = alice.get("/jobs", query_string={"sort": "created_at"}).json["data"]
    assert [job["id"] for job in oldest] == ids


def test_list_filters_by_kind_and_state(alice, job, drain):
    drain()
    waiting = alice.post("/imports", data=b"[]", content_type="application/json").json
    for query, expected in {
        "kind=import": [waiting["id"]],
        "kind=export": [job["id"]],
        "kind=export,import": [waiting["id"], job["id"]],
        "state=queued": [waiting["id"]],
        "state=succeeded,failed&kind=export": [job["id"]],
        "state=running,retrying": [],
    }.items():
        listed = alice.get(f"/jobs?{query}").json["data"]
        assert [one["id"] for one in listed] == expected, query
    assert parameters(alice.get("/jobs?kind=backup&state=done&sort=id")) == {
        "kind",
        "state",
        "sort",
    }


def test_repeated_export_with_idempotency_key_creates_one_job(alice, stored, drain):
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
def test_personal_token_needs_the_scope(alice, stored, scope, call, status):
    body = {"name": "script", "scopes": [scope]}
    alice.access_token = alice.post("/auth/tokens", body).json["token"]
    method, path, body = call
    response = alice.call(method, path, json=body)
    if status == 403:
        assert_problem(response, 403, "insufficient_scope")
    assert response.status_code == status
    assert stored(select(func.count()).select_from(Job)) == [(int(status == 202),)]


def test_at_most_ten_jobs_may_be_unfinished(alice, bob, run_parallel, drain, stored):
    responses = run_parallel(alice, [("POST", "/exports", {"format": "csv"})] * 12)
    conflicts = [response for response in responses if response.status_code == 409]
    assert len(conflicts) == 2
    for response in conflicts:
        assert_problem(
            response, 409, "conflict", detail="10 jobs are unfinished. Wait until one is finished."
        )
    assert bob.post("/exports", {"format": "csv"}).status_code == 202
    assert alice.post("/imports", data=b"[]", content_type="application/json").status_code == 409
    assert stored(select(func.count()).select_from(FilePiece)) == [(0,)]
    drain()
    assert alice.post("/exports", {"format": "csv"}).status_code == 202


def test_newest_twenty_finished_jobs_are_kept(alice, bob, drain, stored):
    bobs_id = bob.post("/exports", {"format": "csv"}).json["id"]
    ids = []
    for _ in range(23):
        ids.append(alice.post("/exports", {"format": "csv"}).json["id"])
        drain()
    remaining = [job["id"] for job in alice.get("/jobs").json["data"]]
    assert remaining == ids[:1:-1]  # 20 finished jobs, and the newest, unfinished at its creation
    pieces = stored(select(FilePiece.job_id).distinct())
    assert {job_id for (job_id,) in pieces} == {bobs_id, *remaining}


def test_job_is_retried_and_fails_after_the_last_attempt(
    app, alice, job, drain, monkeypatch, stored
):
    def fail(*_):
        raise RuntimeError("a secret")

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr("app.jobs.exports._pages", fail)
    alice.task()
    path = f"/jobs/{job['id']}"
    drain()
    assert alice.get(path).json["state"] == "retrying"
    for attempt in range(1, dispatcher.MAX_ATTEMPTS):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=2 * attempt)):
            assert drain() == 1
    failed = alice.get(path).json
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert failed["problem"]["code"] == "internal_error"
    assert failed["problem"]["instance"] == f"/api/v1{path}"
    assert "secret" not in str(failed)
    assert failed["finished_at"]
    assert stored(select(FilePiece.number)) == []


def test_purge_deletes_old_jobs_and_their_files(app, alice, drain, stored):
    alice.post("/exports", {"format": "csv"})
    drain()
    alice.post("/imports", data=b"[]", content_type="application/json")  # never finished
    with time_machine.travel(datetime.now(UTC) + timedelta(days=6)):
        recent = alice.with_new_client().post("/exports", {"format": "csv"}).json["id"]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=8)), app.app_context():
        assert services.purge(days=7) == 2
        assert services.purge(days=7) == 0
    assert stored(select(Job.id)) == [(recent,)]
    assert stored(select(FilePiece.job_id)) == []


def test_deleting_a_user_deletes_its_jobs_and_files(alice, bob, drain, stored):
    alice.task()
    for user in (alice, bob):
        user.post("/exports", {"format": "csv"})
    drain()
    alice.post("/imports", data=b'[{"title": "x"}]', content_type="application/json")
    assert alice.delete("/auth/me").status_code == 204
    drain()
    assert {user_id for (user_id,) in stored(select(Job.user_id))} == {bob.id}
    assert len(stored(select(FilePiece.job_id))) == 1


def test_reading_jobs_takes_two_statements(alice, job, drain, statements):
    drain()
    for path in ("/jobs", f"/jobs/{job['id']}"):
        with statements() as executed:
            assert alice.get(path).status_code == 200
        assert len(executed) == 2  # the session, and the rows
