"""Idempotency keys: one effect, the same answer, whoever asks how often."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from app.http.models import KeptAnswer
from app.tasks.models import Task

KEY = {"Idempotency-Key": "order-1"}
JSON = {"Content-Type": "application/json"}


def titles(stored):
    return [title for (title,) in stored(select(Task.title).order_by(Task.id))]


def test_the_answer_is_the_first_even_after_the_task_has_changed(alice):
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    alice.patch(f"/tasks/{first.json['id']}", {"title": "Buy bread"})
    again = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert again.json == first.json


@pytest.mark.parametrize(
    ("path", "body"), [("/tasks", {"title": "Other"}), ("/tasks?", {"title": "Buy milk", "x": 1})]
)
def test_a_key_for_another_request_is_refused_and_changes_nothing(alice, stored, path, body):
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    answer = alice.post(path, body, headers=KEY)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    assert titles(stored) == ["Buy milk"]


def test_a_refusal_is_an_outcome_too(alice, stored):
    first = alice.post("/tasks", {"title": ""}, headers=KEY)
    again = alice.post("/tasks", {"title": ""}, headers=KEY)
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.data == first.data
    assert again.headers["Content-Type"] == "application/problem+json"
    assert titles(stored) == []


def test_a_failure_of_ours_is_not_kept(alice, stored, monkeypatch):
    def broken(_last):
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("app.tasks.positions.after", broken)
        assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 500
    assert stored(select(func.count()).select_from(KeptAnswer)) == [(0,)]
    assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201
    assert titles(stored) == ["Buy milk"]


@pytest.mark.parametrize(
    "wrong", [{"Content-Type": "text/plain"}, {"Accept": "text/html"}, {"Content-Encoding": "gzip"}]
)
def test_a_request_that_was_not_even_looked_at_does_not_use_its_key_up(alice, stored, wrong):
    first = alice.post("/tasks", data='{"title": "Buy milk"}', headers=KEY | JSON | wrong)
    assert first.status_code in {406, 415}
    second = alice.post("/tasks", data='{"title": "Buy milk"}', headers=KEY | JSON)
    assert (second.status_code, second.json["title"]) == (201, "Buy milk")
    assert titles(stored) == ["Buy milk"]


def test_outcomes_that_are_too_old_are_removed_with_the_next(alice, stored):
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        alice.again().post("/tasks", {"title": "Buy bread"}, headers={"Idempotency-Key": "2"})
    assert stored(select(KeptAnswer.key)) == [("2",)]


def test_a_trailing_slash_is_the_same_path(alice, stored):
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert alice.post("/tasks/", {"title": "Buy milk"}, headers=KEY).data == first.data
    assert titles(stored) == ["Buy milk"]


@pytest.mark.parametrize("key", ["", "a b", "ключ", "x" * 256, "a\tb"])
def test_a_malformed_key_is_a_bad_request_and_changes_nothing(alice, stored, key):
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}
    answer = alice.post("/tasks", {"title": "Buy milk"}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
    assert titles(stored) == []


def test_a_key_lives_for_24_hours(alice, stored):
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    for hours, count in ((23, 1), (25, 2)):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
            later = alice.again()
            assert later.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201
        assert len(titles(stored)) == count
