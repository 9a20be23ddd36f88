"""``flask users``."""

import pytest
from sqlalchemy import select

from app.audit.models import AuditEvent
from app.auth.models import Session, User
from app.cli.users import PAGE_SIZE
from app.users import services
from tests.accounts import PASSWORD
from tests.problems import assert_problem

ROWS = select(User.username, User.email, User.role)
NEW_PASSWORD = "a wholly new passphrase"


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *args, **kwargs: runner.invoke(args=["users", *args], **kwargs)


def create(name="ada", email="Ada@Example.com", password=PASSWORD):
    return "create", name, email, "--password", password


@pytest.mark.parametrize(("flags", "role"), [([], "user"), (["--admin"], "admin")])
def test_created_user_can_log_in(run, accounts, stored, flags, role):
    result = run(*create(), *flags)
    user = accounts.log_in("ada")
    assert (result.exit_code, result.output) == (0, f"User {user.id}: ada, {role}.\n")
    assert stored(ROWS) == [("ada", "Ada@example.com", role)]


def test_operator_creates_a_user_with_a_special_use_address(run, accounts, mails, drain):
    assert run(*create(email="ada@printer.local")).exit_code == 0
    drain()
    assert [mail.to for mail in mails.arrived()] == ["ada@printer.local"]
    assert accounts.log_in("ada").get("/auth/me").json["email"] == "ada@printer.local"


def test_create_prompts_for_the_password_twice_and_hides_it(run, accounts):
    result = run("create", "ada", "ada@example.com", input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert accounts.log_in("ada").username == "ada"


@pytest.mark.parametrize(
    ("args", "message"),
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
def test_invalid_user_is_not_created(run, bob, stored, args, message):
    result = run(*args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {message}\n"
    assert stored(ROWS) == [("bob", "bob@example.com", "user")]


def test_all_errors_are_reported_at_once(run):
    result = run(*create("ab", "nowhere"))
    assert result.stderr.count("\n") == 2
    assert "username: " in result.stderr
    assert "email: " in result.stderr


def test_list_is_sorted_by_creation(run, alice, admin):
    result = run("list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{alice.id}\talice\talice@example.com\tuser\tenabled",
        f"{admin.id}\troot\troot@example.com\tadmin\tenabled",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
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
def test_list_filters_by_role_and_state(run, alice, bob, admin, options, expected):
    assert run("disable", "bob").exit_code == 0
    result = run("list", *options)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[1] for row in rows] == expected
    assert {row[4] for row in rows if row[1] == "bob"} <= {"disabled"}
    assert (result.exit_code, result.stderr) == (0, "")


def test_list_reads_all_pages(run, alice, bob, admin, monkeypatch):
    list_users = services.list_users

    def read_one(*args, limit, **kwargs):
        assert limit == PAGE_SIZE
        return list_users(*args, limit=1, **kwargs)

    monkeypatch.setattr(services, "list_users", read_one)
    assert len(run("list").stdout.splitlines()) == 3


def test_empty_list_shows_how_to_create_a_user(run):
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "There are no users. Create one: flask users create NAME EMAIL\n"


@pytest.fixture
def last_event(stored):
    """Return the last audit event of a user: event, actor and details."""

    def read(user_id):
        columns = (AuditEvent.event, AuditEvent.actor_id, AuditEvent.details)
        query = select(*columns).where(AuditEvent.user_id == user_id)
        return stored(query.order_by(AuditEvent.id.desc()).limit(1))[0]

    return read


def test_create_records_an_audit_event(run, last_event, stored):
    run(*create())
    [(user_id,)] = stored(select(User.id))
    assert last_event(user_id) == ("account_registered", None, {})


@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.com", "Alice@Example.COM"])
def test_user_is_found_by_name_or_email(run, alice, name):
    result = run("promote", name)
    assert (result.exit_code, result.output) == (0, f"User {alice.id}: alice, admin.\n")


def test_promote_and_demote_take_effect_at_once(run, alice, admin, last_event):
    assert run("promote", "alice").exit_code == 0
    assert alice.get("/users").status_code == 200
    assert last_event(alice.id) == ("role_changed", None, {"from": "user", "to": "admin"})
    result = run("demote", "alice")
    assert result.output == f"User {alice.id}: alice, user.\n"
    assert_problem(alice.get("/users"), 403, "forbidden")
    assert last_event(alice.id) == ("role_changed", None, {"from": "admin", "to": "user"})


def test_disable_and_enable_take_effect_at_once(run, alice, last_event):
    result = run("disable", "alice")
    assert result.output == f"User {alice.id}: alice, user, disabled.\n"
    assert_problem(alice.get("/auth/me"), 403, "account_disabled")
    assert last_event(alice.id) == ("account_disabled", None, {})
    result = run("enable", "alice")
    assert result.output == f"User {alice.id}: alice, user.\n"
    assert alice.get("/auth/me").status_code == 200
    assert last_event(alice.id) == ("account_enabled", None, {})


def test_reset_sets_the_prompted_password_and_ends_all_sessions(
    run, alice, bob, accounts, client, last_event, stored
):
    result = run("reset", "alice", input=f"{NEW_PASSWORD}\n{NEW_PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert NEW_PASSWORD not in result.output
    assert result.output.endswith(f"User {alice.id}: alice, user.\n")
    assert stored(select(Session.user_id)) == [(bob.id,)]
    assert last_event(alice.id) == ("password_reset", None, {})
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    old = client.post("/api/v1/auth/login", json={"username": "alice", "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")
    assert accounts.log_in("alice", NEW_PASSWORD).id == alice.id


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("seven77", "Shorter than 8 characters."),
        ("password1", "Among the most common passwords."),
        ("Alice@example.com", "Must not be your own name or address."),
    ],
)
def test_reset_rejects_a_weak_password(run, alice, stored, password, message):
    before = stored(select(User.password_hash, User.updated_at))
    result = run("reset", "alice", "--password", password)
    assert (result.exit_code, result.stderr) == (1, f"Error: new_password: {message}\n")
    assert stored(select(User.password_hash, User.updated_at)) == before
    assert alice.get("/auth/me").status_code == 200


def test_delete_asks_for_confirmation(run, alice, stored):
    assert run("delete", "alice", input="n\n").exit_code == 1
    assert stored(select(User.id)) == [(alice.id,)]


def test_delete_removes_the_user_and_its_data(run, alice, bob, last_event, stored):
    alice.task()
    result = run("delete", "alice", "--yes")
    assert (result.exit_code, result.output) == (0, f"Deleted user {alice.id}.\n")
    assert stored(select(User.id)) == [(bob.id,)]
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    assert last_event(alice.id) == ("account_deleted", None, {})


@pytest.mark.parametrize("args", [("demote",), ("disable",), ("delete", "--yes")])
def test_last_administrator_cannot_be_removed(run, admin, alice, args, stored):
    command, *options = args
    result = run(command, "root", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: The last administrator can't be removed.\n"
    assert admin.get("/users").status_code == 200


@pytest.mark.parametrize(
    "args",
    [
        ("promote",),
        ("demote",),
        ("disable",),
        ("enable",),
        ("reset", "--password", NEW_PASSWORD),
        ("delete", "--yes"),
    ],
)
def test_unknown_user_is_an_error(run, admin, args):
    command, *options = args
    result = run(command, "nobody", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: The user was not found. List users: flask users list\n"
