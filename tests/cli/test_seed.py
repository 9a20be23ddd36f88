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


def test_accounts_and_tasks_are_added_and_can_be_used(run, accounts, stored):
    result = run("--users", "2", "--tasks", "7", "--password", PASSWORD)
    assert result.exit_code == 0, result.output
    assert "Added 2 accounts with 7 tasks each.\n" in result.stdout
    assert stored(COUNTS) == [(2, 14)]
    told = re.search(r"Log in as (\S+) with the password (.+)\n", result.stdout)
    assert told[2] == PASSWORD
    account = accounts.log_in(told[1])
    tasks = account.get("/tasks?limit=200").json["data"]
    assert len(tasks) == 7
    assert {task["created_by"] for task in tasks} == {account.id}
    changed = account.patch(f"/tasks/{tasks[0]['id']}", {"title": "Changed"})
    assert (changed.status_code, changed.json["title"]) == (200, "Changed")


def test_a_password_is_made_and_shown_when_none_is_given(run, accounts):
    result = run("--users", "1", "--tasks", "0")
    told = re.search(r"Log in as (\S+) with the password (\S+)\n", result.stdout)
    assert accounts.log_in(told[1], told[2]).username == told[1]


def test_left_to_itself_it_adds_three_accounts_with_fifty_tasks_each(run, stored):
    assert run().exit_code == 0
    assert stored(COUNTS) == [(3, 150)]


def test_it_adds_to_what_is_there(run, alice, stored):
    alice.task()
    for _ in range(3):
        assert run("--users", "2", "--tasks", "1").exit_code == 0
    assert stored(COUNTS) == [(7, 7)]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (("--users", "0"), "'--users'"),
        (("--tasks", "-1"), "'--tasks'"),
        (("--users", "many"), "'--users'"),
        (("--password", "seven77"), "Shorter than 8 characters."),
        (("--password", "password1"), "Among the most common passwords."),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_added(run, stored, said, told):
    result = run(*said)
    assert result.exit_code == 2
    assert told in result.stderr
    assert stored(COUNTS) == [(0, 0)]


def test_production_data_is_not_made_up(app, run, stored, monkeypatch):
    monkeypatch.setitem(app.config, "PRODUCTION", True)
    result = run()
    assert result.exit_code == 1
    assert result.stderr == "Error: Production data is not made up: FLASK_CONFIG is production.\n"
    assert stored(COUNTS) == [(0, 0)]
