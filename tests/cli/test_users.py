"""``flask users``."""

import pytest
from sqlalchemy import select

from app.auth.models import User
from tests.accounts import PASSWORD

ROWS = select(User.username, User.email, User.role)


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *args, **kwargs: runner.invoke(args=["users", *args], **kwargs)


def create(name="ada", email="Ada@Example.com", password=PASSWORD):
    return "create", name, email, "--password", password


@pytest.mark.parametrize(("flags", "role"), [([], "user"), (["--admin"], "admin")])
def test_an_account_is_opened_and_can_log_in(run, accounts, stored, flags, role):
    result = run(*create(), *flags)
    account = accounts.log_in("ada")
    assert (result.exit_code, result.output) == (0, f"Account {account.id}: ada, {role}.\n")
    assert stored(ROWS) == [("ada", "Ada@example.com", role)]


def test_a_password_is_asked_for_twice_and_not_shown(run, accounts):
    result = run("create", "ada", "ada@example.com", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert accounts.log_in("ada").username == "ada"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (create(name="a b"), "username: Must be letters, digits, dots, hyphens and underscores."),
        (create(name="ab"), "username: Shorter than 3 characters."),
        (create(email="nowhere"), "email: Must be an email address."),
        (create(password="seven77"), "password: Shorter than 8 characters."),
        (create(password="password1"), "password: Among the most common passwords."),
        (create(password="x" * 129), "password: Longer than 128 characters."),
        (create(email="BOB@example.com"), "The email is taken."),
        (create(name="Bob"), "The username is taken."),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_stored(run, bob, stored, said, told):
    result = run(*said)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {told}\n"
    assert stored(ROWS) == [("bob", "bob@example.com", "user")]


def test_every_fault_is_told_at_once(run):
    result = run(*create("ab", "nowhere"))
    assert result.stderr.count("\n") == 2
    assert "username: " in result.stderr
    assert "email: " in result.stderr


def test_accounts_are_listed_in_order(run, alice, admin):
    result = run("list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{alice.id}\talice\talice@example.com\tuser",
        f"{admin.id}\troot\troot@example.com\tadmin",
    ]


def test_a_list_of_none_tells_what_to_do(run):
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "There is no account yet: flask users create NAME EMAIL\n"
