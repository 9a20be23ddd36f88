"""``flask users``."""

import pytest
from sqlalchemy import select

from app.audit.models import AuditEvent
from app.auth.models import Session, User
from app.cli.users import PAGE
from app.users import services
from tests.accounts import PASSWORD
from tests.problems import assert_problem

ROWS = select(User.username, User.email, User.role)
NEW = "a wholly new passphrase"


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
        f"{alice.id}\talice\talice@example.com\tuser\tenabled",
        f"{admin.id}\troot\troot@example.com\tadmin\tenabled",
    ]


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ([], ["alice", "bob", "root"]),
        (["--role", "user"], ["alice", "bob"]),
        (["--role", "admin"], ["root"]),
        (["--disabled"], ["bob"]),
        (["--enabled"], ["alice", "root"]),
        (["--role", "user", "--enabled"], ["alice"]),
        (["--role", "admin", "--disabled"], []),
    ],
)
def test_accounts_are_listed_by_role_and_state(run, alice, bob, admin, options, listed):
    assert run("disable", "bob").exit_code == 0
    result = run("list", *options)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[1] for row in rows] == listed
    assert {row[4] for row in rows if row[1] == "bob"} <= {"disabled"}
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_list_of_many_pages_is_whole(run, alice, bob, admin, monkeypatch):
    read = services.list_users

    def read_one(*args, limit, **kwargs):
        assert limit == PAGE
        return read(*args, limit=1, **kwargs)

    monkeypatch.setattr(services, "list_users", read_one)
    assert len(run("list").stdout.splitlines()) == 3


def test_a_list_of_none_tells_what_to_do(run):
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "There is no account yet: flask users create NAME EMAIL\n"


@pytest.fixture
def recorded(stored):
    """The last event of an account: what, by whom, and how."""

    def read(user_id):
        columns = (AuditEvent.event, AuditEvent.actor_id, AuditEvent.details)
        mine = select(*columns).where(AuditEvent.user_id == user_id)
        return stored(mine.order_by(AuditEvent.id.desc()).limit(1))[0]

    return read


def test_an_account_that_an_operator_opens_is_recorded_as_such(run, recorded, stored):
    run(*create())
    [(user_id,)] = stored(select(User.id))
    assert recorded(user_id) == ("account_registered", None, {})


@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.com", "Alice@Example.COM"])
def test_an_account_is_named_by_its_name_or_its_address(run, alice, name):
    result = run("promote", name)
    assert (result.exit_code, result.output) == (0, f"Account {alice.id}: alice, admin.\n")


def test_an_account_is_promoted_and_demoted_at_once(run, alice, admin, recorded):
    assert run("promote", "alice").exit_code == 0
    assert alice.get("/users").status_code == 200
    assert recorded(alice.id) == ("role_changed", None, {"from": "user", "to": "admin"})
    result = run("demote", "alice")
    assert result.output == f"Account {alice.id}: alice, user.\n"
    assert_problem(alice.get("/users"), 403, "forbidden")
    assert recorded(alice.id) == ("role_changed", None, {"from": "admin", "to": "user"})


def test_an_account_is_disabled_and_enabled_at_once(run, alice, recorded):
    result = run("disable", "alice")
    assert result.output == f"Account {alice.id}: alice, user, disabled.\n"
    assert_problem(alice.get("/auth/me"), 403, "account_disabled")
    assert recorded(alice.id) == ("account_disabled", None, {})
    result = run("enable", "alice")
    assert result.output == f"Account {alice.id}: alice, user.\n"
    assert alice.get("/auth/me").status_code == 200
    assert recorded(alice.id) == ("account_enabled", None, {})


def test_a_reset_sets_a_password_that_is_asked_for_and_ends_all_sessions(
    run, alice, bob, accounts, client, recorded, stored
):
    result = run("reset", "alice", input=f"{NEW}\n{NEW}\n")
    assert result.exit_code == 0, result.output
    assert NEW not in result.output
    assert result.output.endswith(f"Account {alice.id}: alice, user.\n")
    assert stored(select(Session.user_id)) == [(bob.id,)]
    assert recorded(alice.id) == ("password_reset", None, {})
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    old = client.post("/api/v1/auth/login", json={"username": "alice", "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")
    assert accounts.log_in("alice", NEW).id == alice.id


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("seven77", "Shorter than 8 characters."),
        ("password1", "Among the most common passwords."),
        ("Alice@example.com", "Must not be your own name or address."),
    ],
)
def test_a_reset_to_a_password_that_is_guessed_changes_nothing(run, alice, stored, password, told):
    before = stored(select(User.password_hash, User.updated_at))
    result = run("reset", "alice", "--password", password)
    assert (result.exit_code, result.stderr) == (1, f"Error: new_password: {told}\n")
    assert stored(select(User.password_hash, User.updated_at)) == before
    assert alice.get("/auth/me").status_code == 200


def test_a_deletion_is_confirmed_first(run, alice, stored):
    assert run("delete", "alice", input="n\n").exit_code == 1
    assert stored(select(User.id)) == [(alice.id,)]


def test_an_account_is_deleted_with_all_that_is_its_own(run, alice, bob, recorded, stored):
    alice.task()
    result = run("delete", "alice", "--yes")
    assert (result.exit_code, result.output) == (0, f"Account {alice.id} is deleted.\n")
    assert stored(select(User.id)) == [(bob.id,)]
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    assert recorded(alice.id) == ("account_deleted", None, {})


@pytest.mark.parametrize("said", [("demote",), ("disable",), ("delete", "--yes")])
def test_the_last_administrator_is_kept(run, admin, alice, said, stored):
    command, *options = said
    result = run(command, "root", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: The last administrator can't be removed.\n"
    assert admin.get("/users").status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        ("promote",),
        ("demote",),
        ("disable",),
        ("enable",),
        ("reset", "--password", NEW),
        ("delete", "--yes"),
    ],
)
def test_an_unknown_account_is_told(run, admin, said):
    command, *options = said
    result = run(command, "nobody", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There is no such account: flask users list\n"
