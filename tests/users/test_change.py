"""Changes of users by administrators; one administrator must always remain."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import func, select

from app.api.models import IdempotencyRecord
from app.audit.models import AuditEvent
from app.auth.models import PersonalToken, Role, Session, User
from app.tasks.models import Task
from tests.accounts import PASSWORD
from tests.problems import assert_problem, pointers


@pytest.fixture
def events(stored):
    """Return the events of a user that an administrator caused: event, actor, details."""

    def read(user_id):
        rows = stored(
            select(AuditEvent.event, AuditEvent.actor_id, AuditEvent.details)
            .where(AuditEvent.user_id == user_id)
            .order_by(AuditEvent.id)
        )
        own = ("account_registered", "login_succeeded", "personal_token_created")
        return [row for row in rows if row[0] not in own]

    return read


def test_role_change_is_applied_and_recorded(admin, alice, events, stored):
    before = admin.get(f"/users/{alice.id}").json
    response = admin.patch(f"/users/{alice.id}", {"role": "admin"})
    changed = {"role": "admin", "updated_at": response.json["updated_at"]}
    assert (response.status_code, response.json) == (200, before | changed)
    assert changed["updated_at"] > before["updated_at"]
    assert stored(select(User.role).where(User.id == alice.id)) == [("admin",)]
    admin.patch(f"/users/{alice.id}", {"role": "user"})
    assert events(alice.id) == [
        ("role_changed", admin.id, {"from": "user", "to": "admin"}),
        ("role_changed", admin.id, {"from": "admin", "to": "user"}),
    ]


def test_disabled_user_is_rejected_until_enabled(admin, alice, client, accounts, events, stored):
    payload = {"name": "script", "scopes": ["account:read"]}
    script = alice.with_new_client()
    script.access_token = alice.post("/auth/tokens", payload).json["token"]
    sessions = stored(select(Session.id).where(Session.user_id == alice.id))
    response = admin.patch(f"/users/{alice.id}", {"disabled": True})
    assert (response.status_code, response.json["disabled"]) == (200, True)

    bearer = {"Authorization": f"Bearer {alice.refresh_token}"}
    credentials = {"username": "alice", "password": PASSWORD}
    for rejected in (
        alice.get("/tasks"),
        alice.get("/auth/me"),
        alice.get(f"/users/{alice.id}"),
        script.get("/auth/me"),
        client.post("/api/v1/auth/refresh", headers=bearer),
        client.post("/api/v1/auth/login", json=credentials),
    ):
        assert_problem(rejected, 403, "account_disabled")
    wrong = client.post("/api/v1/auth/login", json={**credentials, "password": "not this one"})
    assert_problem(wrong, 401, "invalid_credentials")
    assert stored(select(Session.id).where(Session.user_id == alice.id)) == sessions

    response = admin.patch(f"/users/{alice.id}", {"disabled": False})
    assert (response.status_code, response.json["disabled"]) == (200, False)
    assert alice.get("/auth/me").status_code == script.get("/auth/me").status_code == 200
    assert accounts.log_in("alice").id == alice.id
    changes = [event for event in events(alice.id) if event[0] != "login_failed"]
    assert changes == [("account_disabled", admin.id, {}), ("account_enabled", admin.id, {})]


@pytest.mark.parametrize("changes", [{}, {"role": "user"}, {"disabled": False}])
def test_patch_without_changes_records_no_event(admin, alice, events, changes):
    before = admin.get(f"/users/{alice.id}").json
    response = admin.patch(f"/users/{alice.id}", changes)
    assert (response.status_code, response.json) == (200, before)
    assert events(alice.id) == []


def test_disabling_twice_keeps_first_disabled_at(admin, alice, stored):
    admin.patch(f"/users/{alice.id}", {"disabled": True})
    before = stored(select(User.disabled_at, User.updated_at).where(User.id == alice.id))
    admin.patch(f"/users/{alice.id}", {"disabled": True})
    after = stored(select(User.disabled_at, User.updated_at).where(User.id == alice.id))
    assert after == before


def test_merge_patch_changes_role_and_disabled_together(admin, alice, events):
    response = admin.call(
        "PATCH",
        f"/users/{alice.id}",
        data='{"role": "admin", "disabled": true}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert (response.json["role"], response.json["disabled"]) == ("admin", True)
    assert [event for event, *_ in events(alice.id)] == ["role_changed", "account_disabled"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", None),
        ("role", "root"),
        ("role", 1),
        ("disabled", None),
        ("disabled", "true"),
        ("disabled", 1),
        ("username", "alicia"),
        ("email", "a@example.org"),
        ("email_verified", True),
        ("password", "a wholly new passphrase"),
        ("disabled_at", "2030-01-31T09:00:00Z"),
        ("id", 7),
    ],
)
def test_invalid_change_is_reported_and_not_applied(admin, alice, field, value):
    before = admin.get(f"/users/{alice.id}").json
    response = admin.patch(f"/users/{alice.id}", {"role": "admin", field: value})
    assert pointers(response) == {f"/{field}"}
    assert admin.get(f"/users/{alice.id}").json == before


def test_deletion_removes_all_data_of_the_user(admin, alice, bob, events, stored):
    for account in (alice, bob):
        account.post("/tasks", {"title": account.username}, headers={"Idempotency-Key": "k"})
        account.post("/auth/tokens", {"name": "script", "scopes": ["tasks:read"]})
    response = admin.delete(f"/users/{alice.id}")
    assert (response.status_code, response.data) == (204, b"")
    assert stored(select(Task.title)) == [("bob",)]
    for owner in (PersonalToken.user_id, IdempotencyRecord.user_id):
        assert stored(select(owner)) == [(bob.id,)]
    assert alice.id not in [user_id for (user_id,) in stored(select(Session.user_id))]
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    for call in (admin.get, admin.delete):
        assert_problem(call(f"/users/{alice.id}"), 404, "not_found")
    assert events(alice.id) == [("account_deleted", admin.id, {})]


def test_audit_log_remains_after_deletion(admin, alice):
    admin.delete(f"/users/{alice.id}")
    audit_log = admin.get(f"/users/{alice.id}/audit").json["data"]
    assert [event["event"] for event in audit_log] == [
        "account_deleted",
        "login_succeeded",
        "account_registered",
    ]


REMOVALS = [("PATCH", {"role": "user"}), ("PATCH", {"disabled": True}), ("DELETE", None)]


@pytest.mark.parametrize(("method", "body"), REMOVALS)
def test_last_active_administrator_cannot_be_removed(admin, alice, events, method, body):
    before = admin.get(f"/users/{admin.id}").json
    response = admin.call(method, f"/users/{admin.id}", json=body)
    problem = assert_problem(response, 409, "conflict")
    assert problem["detail"] == "The last administrator can't be removed."
    assert admin.get(f"/users/{admin.id}").json == before
    assert events(admin.id) == []


@pytest.mark.parametrize(("method", "body"), REMOVALS)
def test_disabled_administrator_does_not_count(admin, accounts, method, body):
    other = accounts.make("other", admin=True)
    assert admin.patch(f"/users/{other.id}", {"disabled": True}).status_code == 200
    assert_problem(admin.call(method, f"/users/{admin.id}", json=body), 409, "conflict")
    assert_problem(admin.delete("/auth/me"), 409, "conflict")
    assert admin.call(method, f"/users/{other.id}", json=body).status_code in {200, 204}


@pytest.mark.parametrize(("method", "body"), REMOVALS)
def test_administrator_can_remove_itself_if_another_exists(admin, accounts, stored, method, body):
    other = accounts.make("other", admin=True)
    assert admin.call(method, f"/users/{admin.id}", json=body).status_code in {200, 204}
    assert admin.get("/users").status_code in {401, 403}
    active_admins = select(User.id).where(User.role == Role.admin, User.disabled_at.is_(None))
    assert stored(active_admins) == [(other.id,)]


@pytest.mark.parametrize(("method", "body"), REMOVALS)
def test_concurrent_removal_keeps_one_administrator(app, accounts, stored, method, body):
    admins = [accounts.make(f"root{number}", admin=True) for number in range(4)]
    start = Barrier(4)

    def remove_next(number):
        actor, target = admins[number], admins[(number + 1) % 4]
        actor.client = app.test_client()
        start.wait()
        return actor.call(method, f"/users/{target.id}", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = set(pool.map(remove_next, range(4)))
    active_admins = select(func.count()).where(User.role == Role.admin, User.disabled_at.is_(None))
    [(count,)] = stored(active_admins)
    assert count >= 1
    assert statuses <= {200, 204, 401, 403, 409}
    assert statuses & {200, 204}


@pytest.mark.parametrize("_", range(5))
def test_concurrent_demotion_keeps_one_administrator(app, accounts, stored, _):
    admins = [accounts.make(f"root{number}", admin=True) for number in range(2)]
    start = Barrier(2)

    def demote_other(number):
        actor, target = admins[number], admins[1 - number]
        actor.client = app.test_client()
        start.wait()
        return actor.patch(f"/users/{target.id}", {"role": "user"}).status_code

    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(demote_other, range(2)))
    assert first == 200
    assert second in {403, 409}
    assert stored(select(func.count()).where(User.role == Role.admin)) == [(1,)]


@pytest.mark.parametrize(
    ("method", "path", "body", "count"),
    [
        ("GET", "", None, 2),
        ("GET", "/audit", None, 2),
        ("PATCH", "", {"role": "admin"}, 4),
        ("PATCH", "", {"role": "user"}, 3),
        ("PATCH", "", {"disabled": True}, 5),
        ("DELETE", "", None, 4),
    ],
)
def test_statement_count_per_route(admin, alice, statements, method, path, body, count):
    alice.task()
    with statements() as seen:
        response = admin.call(method, f"/users/{alice.id}{path}", json=body)
    assert response.status_code in {200, 204}
    assert len(seen) == count, seen
