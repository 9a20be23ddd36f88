"""``flask seed``."""

import re

import pytest
from sqlalchemy import func, select

from app.auth.models import User
from app.tasks.models import Task
from tests.accounts import PASSWORD

COUNTS = select(
    select(func.count()).select_from(User).scalar_subquery(),
    select(func.count()).select_from(Task).scalar_subquery(),
)


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *args: runner.invoke(args=["seed", *args])


def test_seeded_users_can_log_in_and_change_tasks(run, accounts, stored):
    result = run("--users", "2", "--tasks", "7", "--password", PASSWORD)
    assert result.exit_code == 0, result.output
    assert "Added 2 users with 7 tasks each.\n" in result.stdout
    assert stored(COUNTS) == [(2, 14)]
    match = re.search(r"Log in as (\S+) with the password (.+)\n", result.stdout)
    assert match[2] == PASSWORD
    user = accounts.log_in(match[1])
    tasks = user.get("/tasks?limit=200").json["data"]
    assert len(tasks) == 7
    assert {task["created_by"] for task in tasks} == {user.id}
    changed = user.patch(f"/tasks/{tasks[0]['id']}", {"title": "Changed"})
    assert (changed.status_code, changed.json["title"]) == (200, "Changed")


def test_password_is_random_if_omitted(run, accounts):
    result = run("--users", "1", "--tasks", "0")
    match = re.search(r"Log in as (\S+) with the password (\S+)\n", result.stdout)
    assert accounts.log_in(match[1], match[2]).username == match[1]


def test_default_is_three_users_with_fifty_tasks_each(run, stored):
    assert run().exit_code == 0
    assert stored(COUNTS) == [(3, 150)]


def test_seed_adds_to_existing_data(run, alice, stored):
    alice.task()
    for _ in range(3):
        assert run("--users", "2", "--tasks", "1").exit_code == 0
    assert stored(COUNTS) == [(7, 7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--users", "0"), "'--users'"),
        (("--tasks", "-1"), "'--tasks'"),
        (("--users", "many"), "'--users'"),
        (("--password", "seven77"), "Shorter than 8 characters."),
        (("--password", "password1"), "Among the most common passwords."),
    ],
)
def test_invalid_options_add_nothing(run, stored, options, message):
    result = run(*options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert stored(COUNTS) == [(0, 0)]


def test_seed_is_not_available_in_production(app, run, stored, monkeypatch):
    monkeypatch.setitem(app.config, "PRODUCTION", True)
    result = run()
    assert result.exit_code == 1
    assert result.stderr == "Error: Not available in production (FLASK_CONFIG).\n"
    assert stored(COUNTS) == [(0, 0)]
