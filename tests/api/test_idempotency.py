"""Idempotency keys: one effect, and the same response to each retry."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from app.api.models import IdempotencyRecord
from app.errors import Conflict
from app.tasks import services
from app.tasks.models import Task

KEY = {"Idempotency-Key": "order-1"}
JSON = {"Content-Type": "application/json"}


def titles(stored):
    return [title for (title,) in stored(select(Task.title).order_by(Task.id))]


def test_first_response_is_replayed_after_a_change(alice):
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    alice.patch(f"/tasks/{first.json['id']}", {"title": "Buy bread"})
    again = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert again.json == first.json


@pytest.mark.parametrize(
    ("path", "body"),
    [("/tasks", {"title": "Other"}), ("/tasks?", {"title": "Buy milk", "priority": "low"})],
)
def test_key_of_another_request_is_rejected(alice, stored, path, body):
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    response = alice.post(path, body, headers=KEY)
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")
    assert titles(stored) == ["Buy milk"]


def test_problem_of_the_service_is_replayed(alice, stored, monkeypatch):
    def refuse(*_, **__):
        raise Conflict("No more tasks today.")

    with monkeypatch.context() as patched:
        patched.setattr(services, "create_task", refuse)
        first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    again = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert (first.status_code, again.status_code) == (409, 409)
    assert again.data == first.data
    assert again.headers["Content-Type"] == "application/problem+json"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert titles(stored) == []


@pytest.mark.parametrize(
    ("path", "body"), [("/tasks", {"title": ""}), ("/tasks?color=red", {"title": "Buy milk"})]
)
def test_request_that_fails_validation_does_not_use_its_key(alice, stored, path, body):
    assert alice.post(path, body, headers=KEY).status_code == 422
    corrected = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert (corrected.status_code, corrected.json["title"]) == (201, "Buy milk")
    assert "Idempotent-Replayed" not in corrected.headers
    assert titles(stored) == ["Buy milk"]


def test_server_error_is_not_stored(alice, stored, monkeypatch):
    def broken(_last):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("app.tasks.positions.after", broken)
        assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 500
    assert stored(select(func.count()).select_from(IdempotencyRecord)) == [(0,)]
    assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201
    assert titles(stored) == ["Buy milk"]


@pytest.mark.parametrize(
    "wrong", [{"Content-Type": "text/plain"}, {"Accept": "text/html"}, {"Content-Encoding": "gzip"}]
)
def test_rejected_headers_do_not_use_the_key(alice, stored, wrong):
    first = alice.post("/tasks", data='{"title": "Buy milk"}', headers=KEY | JSON | wrong)
    assert first.status_code in {406, 415}
    second = alice.post("/tasks", data='{"title": "Buy milk"}', headers=KEY | JSON)
    assert (second.status_code, second.json["title"]) == (201, "Buy milk")
    assert titles(stored) == ["Buy milk"]


def test_expired_records_are_deleted_with_the_next(alice, stored):
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        alice.with_new_client().post(
            "/tasks", {"title": "Buy bread"}, headers={"Idempotency-Key": "2"}
        )
    assert stored(select(IdempotencyRecord.key)) == [("2",)]


def test_trailing_slash_is_the_same_path(alice, stored):
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert alice.post("/tasks/", {"title": "Buy milk"}, headers=KEY).data == first.data
    assert titles(stored) == ["Buy milk"]


@pytest.mark.parametrize("key", ["", "a b", "ключ", "x" * 256, "a\tb"])
def test_malformed_key_is_rejected(alice, stored, key):
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}
    response = alice.post("/tasks", {"title": "Buy milk"}, headers=headers)
    assert (response.status_code, response.json["code"]) == (400, "bad_request")
    assert titles(stored) == []


def test_key_is_valid_for_24_hours(alice, stored):
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    for hours, count in ((23, 1), (25, 2)):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
            later = alice.with_new_client()
            assert later.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201
        assert len(titles(stored)) == count
