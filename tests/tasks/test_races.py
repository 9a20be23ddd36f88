"""What happens at once: nothing is lost, and nobody gets a 5xx."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from app.tasks import services
from app.tasks.models import Task
from tests.problems import assert_problem

CROWD = 20
CHANGES = {
    "title": "Changed",
    "description": "Changed",
    "status": "in_progress",
    "priority": "urgent",
    "due_date": "2030-01-31",
    "time_zone": "Europe/Zurich",
    "position": "m",
}


def statuses(answers):
    return Counter(answer.status_code for answer in answers)


def test_parallel_changes_of_different_fields_all_survive(alice, at_once):
    paths = [f"/tasks/{alice.task()['id']}" for _ in range(3)]
    requests = [("PATCH", path, {name: CHANGES[name]}) for name in CHANGES for path in paths]
    answers = at_once(alice, requests)
    assert statuses(answers) == {200: len(requests)}
    for path in paths:
        task = alice.get(path).json
        assert {name: task[name] for name in CHANGES} == CHANGES
        assert task["version"] == 1 + len(CHANGES)


def test_parallel_changes_of_one_field_each_make_one_version(alice, at_once):
    path = f"/tasks/{alice.task()['id']}"
    answers = at_once(alice, [("PATCH", path, {"title": f"By {n}"}) for n in range(CROWD)])
    assert statuses(answers) == {200: CROWD}
    by_version = {answer.json["version"]: answer.json for answer in answers}
    assert sorted(by_version) == list(range(2, CROWD + 2))
    assert alice.get(path).json == by_version[CROWD + 1]


@pytest.fixture
def interrupt(monkeypatch):
    """Has an act come, once, between the look at a task and its change."""
    judge = services.changed_values

    def between(act):
        def interrupted(*args, **kwargs):
            monkeypatch.setattr(services, "changed_values", judge)
            with ThreadPoolExecutor(1) as threads:
                threads.submit(act).result()
            return judge(*args, **kwargs)

        monkeypatch.setattr(services, "changed_values", interrupted)

    return between


def test_a_change_that_another_came_before_is_judged_anew(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.patch(path, {"title": "Bread", "due_date": "2030-01-31"}))
    changed = alice.patch(path, {"due_at": "2031-01-31T09:00:00Z"}).json
    assert changed["version"] == 3
    assert (changed["title"], changed["due_date"]) == ("Bread", None)
    assert alice.get(path).json == changed


def test_a_change_of_a_version_that_another_came_before_is_refused(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.patch(path, {"title": "Bread"}))
    stale = alice.patch(path, {"title": "Cake"}, headers={"If-Match": '"1"'})
    assert_problem(stale, 412, "stale_version")
    assert alice.get(path).json["title"] == "Bread"


def test_a_change_of_what_another_deletes_meanwhile_finds_nothing(alice, interrupt):
    path = f"/tasks/{alice.task('Milk')['id']}"
    interrupt(lambda: alice.delete(path))
    assert_problem(alice.patch(path, {"title": "Cake"}), 404, "not_found")


def test_parallel_completions_complete_once(alice, at_once):
    path = f"/tasks/{alice.task()['id']}"
    answers = at_once(alice, [("PUT", f"{path}/status", {"status": "completed"})] * CROWD)
    assert statuses(answers) == {200: CROWD}
    assert {answer.json["version"] for answer in answers} == {2}
    assert len({answer.json["completed_at"] for answer in answers}) == 1


def test_parallel_creations_are_all_kept(alice, at_once, stored):
    answers = at_once(alice, [("POST", "/tasks", {"title": f"By {n}"}) for n in range(CROWD)])
    assert statuses(answers) == {201: CROWD}
    assert len({answer.json["id"] for answer in answers}) == CROWD
    assert stored(select(func.count(Task.id))) == [(CROWD,)]
