"""Idempotency keys: one effect, the same answer, whoever asks how often."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from app.extensions import db
from app.http.idempotency import Claim
from app.http.models import KeptAnswer
from app.tasks.models import Task

KEY = {"Idempotency-Key": "order-1"}
JSON = {"Content-Type": "application/json"}


def titles(stored):
    return [title for (title,) in stored(select(Task.title).order_by(Task.id))]


def test_a_retry_gets_the_first_answer_again_and_makes_no_second_row(alice, stored):
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    again = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    for name in ("Content-Type", "ETag", "Location"):
        assert again.headers[name] == first.headers[name]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert titles(stored) == ["Buy milk"]


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


def test_keys_belong_to_one_account(alice, bob, stored):
    alice.post("/tasks", {"title": "Alice's"}, headers=KEY)
    answer = bob.post("/tasks", {"title": "Bob's"}, headers=KEY)
    assert answer.json["title"] == "Bob's"
    assert titles(stored) == ["Alice's", "Bob's"]


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


def test_a_second_request_while_the_first_is_running_is_told_so(alice, app, stored):
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            pytest.skip("SQLite's writers wait for one another instead")
        Claim(alice.id, KEY["Idempotency-Key"], b"").begin()
        # In a thread of its own, or the request would share this session.
        with ThreadPoolExecutor(1) as pool:
            body = {"title": "Buy milk"}
            answer = pool.submit(alice.post, "/tasks", body, headers=KEY).result()
        db.session.rollback()
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_in_progress")
    assert titles(stored) == []
    assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).status_code == 201


def test_50_threads_with_one_key_make_one_row_and_equal_answers(alice, stored):
    def create(_number):
        return alice.again().post("/tasks", {"title": "Buy milk"}, headers=KEY)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(create, range(50)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    bodies = {answer.data for answer in answers if answer.status_code == 201}
    assert len(bodies) == 1
    assert {a.json["code"] for a in answers if a.status_code == 409} <= {"idempotency_in_progress"}
    assert titles(stored) == ["Buy milk"]
