"""The endpoints of the user's own account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import select, update

from app.auth.models import Role, Session, User
from app.extensions import db
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.problems import assert_problem, pointers

NEW = "a wholly new passphrase"
NOTICES = ("notify_on_create", "notify_when_due")
LATER = datetime(2040, 1, 31, 9, tzinfo=UTC)


def without_fresh_token(account):
    """Replace the access token by a refreshed one, which is not fresh."""
    tokens = account.client.post(
        "/api/v1/auth/refresh", headers={"Authorization": f"Bearer {account.refresh_token}"}
    )
    account.access_token = tokens.json["access_token"]
    return account


def test_user_reads_own_account(alice, bob):
    for account in (alice, bob):
        response = account.get("/auth/me")
        assert (response.json["id"], response.json["username"]) == (account.id, account.username)
        assert "password" not in response.text


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
def test_patch_keeps_omitted_fields(alice, stored, changes, stored_as):
    before = alice.get("/auth/me").json
    columns = [getattr(User, name) for name in stored_as]
    response = alice.patch("/auth/me", changes)
    assert response.status_code == 200
    expected = before | {name: stored_as[name] for name in changes}
    assert response.json == expected | {"updated_at": response.json["updated_at"]}
    assert response.json["updated_at"] > before["updated_at"]
    assert alice.get("/auth/me").json == response.json
    assert stored(select(*columns)) == [tuple(stored_as.values())]


def test_account_says_that_notices_wait_for_a_verified_email(alice, admin, stored, app):
    body = alice.patch("/auth/me", {"notify_on_create": True}).json
    assert (body["notify_on_create"], body["notices_active"]) == (True, False)
    with app.app_context():
        db.session.execute(update(User).where(User.id == alice.id).values(email_verified=True))
        db.session.commit()
    assert alice.get("/auth/me").json["notices_active"] is True
    users = admin.get("/users").json["data"]
    assert {user["username"]: user["notices_active"] for user in users} == {
        "alice": True,
        "root": False,
    }


def test_without_mail_new_email_applies_at_once(alice, no_mail, stored):
    response = alice.patch("/auth/me", {"email": "A@Example.org"})
    assert (response.status_code, response.json["email"]) == (200, "A@example.org")
    stored_as = stored(select(User.email, User.email_key, User.email_verified))
    assert stored_as == [("A@example.org", "a@example.org", False)]


def test_merge_patch_media_type_is_accepted(alice):
    response = alice.call(
        "PATCH",
        "/auth/me",
        data='{"time_zone": "Asia/Tokyo"}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert response.json["time_zone"] == "Asia/Tokyo"


@pytest.mark.parametrize("changes", [{}, {"username": "alice"}, {"email": "alice@example.com"}])
def test_patch_without_changes_has_no_effect(alice, changes):
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
def test_username_or_email_of_another_user_is_a_conflict(alice, bob, field, value):
    before = alice.get("/auth/me").json
    response = alice.patch("/auth/me", {field: value, "time_zone": "Asia/Tokyo"})
    assert_problem(response, 409, "conflict", field=field)
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
def test_invalid_change_is_reported(alice, field, value):
    before = alice.get("/auth/me").json
    assert pointers(alice.patch("/auth/me", {field: value})) == {f"/{field}"}
    assert alice.get("/auth/me").json == before


def test_username_and_time_zone_change_without_fresh_token(alice):
    response = without_fresh_token(alice).patch(
        "/auth/me", {"username": "alicia", "time_zone": "Asia/Tokyo"}
    )
    assert (response.json["username"], response.json["time_zone"]) == ("alicia", "Asia/Tokyo")


def test_deletion_removes_all_data_of_the_user_only(alice, bob, client, stored):
    alice.task("hers")
    bob.task("his")
    response = alice.delete("/auth/me")
    assert (response.status_code, response.data) == (204, b"")
    assert stored(select(User.username)) == [("bob",)]
    assert stored(select(Session.user_id)) == [(bob.id,)]
    assert stored(select(Task.title)) == [("his",)]
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    login = client.post("/api/v1/auth/login", json={"username": "alice", "password": PASSWORD})
    assert_problem(login, 401, "invalid_credentials")


def test_deletion_frees_username_but_not_id(alice, accounts):
    alice.delete("/auth/me")
    assert accounts.make("alice").id > alice.id


def test_last_administrator_cannot_be_deleted(admin, alice, stored):
    assert_problem(admin.delete("/auth/me"), 409, "conflict")
    assert stored(select(User.role).order_by(User.id)) == [("admin",), ("user",)]
    assert admin.get("/auth/me").json["role"] == "admin"


def test_concurrent_self_deletion_keeps_one_administrator(app, accounts, stored):
    admins = [accounts.make(f"root{number}", admin=True) for number in range(4)]
    start = Barrier(4)

    def delete_account(account):
        account.client = app.test_client()
        start.wait()
        return account.delete("/auth/me").status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(delete_account, admins)) == [204, 204, 204, 409]
    assert stored(select(User.role)) == [(Role.admin,)]


def test_change_sets_updated_at(accounts, stored):
    with time_machine.travel(LATER, tick=False) as clock:
        alice = accounts.make("alice")
        clock.shift(60)
        response = alice.patch("/auth/me", {"username": "alicia"})
    assert response.json["created_at"] == "2040-01-31T09:00:00.000000Z"
    assert response.json["updated_at"] == "2040-01-31T09:01:00.000000Z"
