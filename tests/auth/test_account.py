"""One's own account: read, changed, deleted."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import select

from app.auth.models import Role, Session, User
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.problems import assert_problem, pointers

NEW = "a wholly new passphrase"
NOTICES = ("notify_on_create", "notify_when_due")
LATER = datetime(2040, 1, 31, 9, tzinfo=UTC)


def stale(account):
    """Make an account's token one for which no password was proved."""
    pair = account.client.post(
        "/api/v1/auth/refresh", headers={"Authorization": f"Bearer {account.refresh_token}"}
    )
    account.access_token = pair.json["access_token"]
    return account


def test_each_reads_its_own_account(alice, bob):
    for account in (alice, bob):
        answer = account.get("/auth/me")
        assert (answer.json["id"], answer.json["username"]) == (account.id, account.username)
        assert "password" not in answer.text


@pytest.mark.parametrize(
    ("changes", "stored_as"),
    [
        ({"time_zone": "Asia/Tokyo"}, {"time_zone": "Asia/Tokyo"}),
        ({"username": "Alicia"}, {"username": "Alicia", "username_key": "alicia"}),
        ({"username": "ALICE"}, {"username": "ALICE", "username_key": "alice"}),
        ({"notify_on_create": True}, {"notify_on_create": True, "notify_when_due": True}),
        ({"notify_when_due": False}, {"notify_on_create": False, "notify_when_due": False}),
    ],
)
def test_a_change_keeps_all_that_it_does_not_name(alice, stored, changes, stored_as):
    before = alice.get("/auth/me").json
    columns = [getattr(User, name) for name in stored_as]
    answer = alice.patch("/auth/me", changes)
    assert answer.status_code == 200
    expected = before | {name: stored_as[name] for name in changes}
    assert answer.json == expected | {"updated_at": answer.json["updated_at"]}
    assert answer.json["updated_at"] > before["updated_at"]
    assert alice.get("/auth/me").json == answer.json
    assert stored(select(*columns)) == [tuple(stored_as.values())]


def test_where_no_mail_can_be_sent_a_new_address_counts_at_once(alice, no_mail, stored):
    answer = alice.patch("/auth/me", {"email": "A@Example.org"})
    assert (answer.status_code, answer.json["email"]) == (200, "A@example.org")
    stored_as = stored(select(User.email, User.email_key, User.email_verified))
    assert stored_as == [("A@example.org", "a@example.org", False)]


def test_a_merge_patch_type_is_taken_too(alice):
    answer = alice.call(
        "PATCH",
        "/auth/me",
        data='{"time_zone": "Asia/Tokyo"}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.json["time_zone"] == "Asia/Tokyo"


@pytest.mark.parametrize("changes", [{}, {"username": "alice"}, {"email": "alice@example.com"}])
def test_a_change_of_nothing_changes_nothing(alice, changes):
    before = alice.get("/auth/me").json
    assert alice.patch("/auth/me", changes).json == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "bob"),
        ("username", "BoB"),
        ("email", "bob@example.com"),
        ("email", "BOB@Example.COM"),
    ],
)
def test_anothers_name_or_address_is_a_conflict(alice, bob, field, value):
    before = alice.get("/auth/me").json
    answer = alice.patch("/auth/me", {field: value, "time_zone": "Asia/Tokyo"})
    assert_problem(answer, 409, "conflict", field=field)
    assert alice.get("/auth/me").json == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 7),
        ("role", "admin"),
        ("email_verified", True),
        ("password", NEW),
        ("created_at", "2030-01-31T09:00:00Z"),
        ("username_key", "bob"),
        ("username", None),
        ("username", "a b"),
        ("email", None),
        ("email", "nowhere"),
        ("time_zone", None),
        ("time_zone", "Europe/Atlantis"),
        ("time_zone", 1),
        *((name, value) for name in NOTICES for value in (None, 1, "true", "on", [])),
    ],
)
def test_an_unacceptable_change_is_refused_by_name(alice, field, value):
    before = alice.get("/auth/me").json
    assert pointers(alice.patch("/auth/me", {field: value})) == {f"/{field}"}
    assert alice.get("/auth/me").json == before


def test_a_name_and_a_zone_change_without_a_fresh_token(alice):
    answer = stale(alice).patch("/auth/me", {"username": "alicia", "time_zone": "Asia/Tokyo"})
    assert (answer.json["username"], answer.json["time_zone"]) == ("alicia", "Asia/Tokyo")


def test_a_deleted_account_leaves_nothing_and_nobody_elses_is_touched(alice, bob, client, stored):
    alice.task("hers")
    bob.task("his")
    answer = alice.delete("/auth/me")
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored(select(User.username)) == [("bob",)]
    assert stored(select(Session.user_id)) == [(bob.id,)]
    assert stored(select(Task.title)) == [("his",)]
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    login = client.post("/api/v1/auth/login", json={"username": "alice", "password": PASSWORD})
    assert_problem(login, 401, "invalid_credentials")


def test_a_deleted_accounts_name_is_free_and_its_id_is_not_used_again(alice, accounts):
    alice.delete("/auth/me")
    assert accounts.make("alice").id > alice.id


def test_the_last_administrator_can_not_be_deleted(admin, alice, stored):
    assert_problem(admin.delete("/auth/me"), 409, "conflict")
    assert stored(select(User.role).order_by(User.id)) == [("admin",), ("user",)]
    assert admin.get("/auth/me").json["role"] == "admin"


def test_of_administrators_that_leave_at_once_one_stays(app, accounts, stored):
    admins = [accounts.make(f"root{number}", admin=True) for number in range(4)]
    start = Barrier(4)

    def leave(account):
        account.client = app.test_client()
        start.wait()
        return account.delete("/auth/me").status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(leave, admins)) == [204, 204, 204, 409]
    assert stored(select(User.role)) == [(Role.admin,)]


def test_a_change_notes_its_time(accounts, stored):
    with time_machine.travel(LATER, tick=False) as clock:
        alice = accounts.make("alice")
        clock.shift(60)
        answer = alice.patch("/auth/me", {"username": "alicia"})
    assert answer.json["created_at"] == "2040-01-31T09:00:00Z"
    assert answer.json["updated_at"] == "2040-01-31T09:01:00Z"
