"""What administrators do to accounts, and that one of them always stays."""

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
    """The events of an account that an administrator causes: what, by whom, and how."""

    def read(user_id):
        rows = stored(
            select(AuditEvent.event, AuditEvent.actor_id, AuditEvent.details)
            .where(AuditEvent.user_id == user_id)
            .order_by(AuditEvent.id)
        )
        kept = ("account_registered", "login_succeeded", "personal_token_created")
        return [row for row in rows if row[0] not in kept]

    return read


def test_a_role_is_changed_and_recorded(admin, alice, events, stored):
    before = admin.get(f"/users/{alice.id}").json
    answer = admin.patch(f"/users/{alice.id}", {"role": "admin"})
    changed = {"role": "admin", "updated_at": answer.json["updated_at"]}
    assert (answer.status_code, answer.json) == (200, before | changed)
    assert changed["updated_at"] > before["updated_at"]
    assert stored(select(User.role).where(User.id == alice.id)) == [("admin",)]
    admin.patch(f"/users/{alice.id}", {"role": "user"})
    assert events(alice.id) == [
        ("role_changed", admin.id, {"from": "user", "to": "admin"}),
        ("role_changed", admin.id, {"from": "admin", "to": "user"}),
    ]


def test_a_disabled_account_is_refused_at_once_and_goes_on_when_it_is_enabled(
    admin, alice, client, accounts, events, stored
):
    asked = {"name": "script", "scopes": ["account:read"]}
    script = alice.with_new_client()
    script.access_token = alice.post("/auth/tokens", asked).json["token"]
    sessions = stored(select(Session.id).where(Session.user_id == alice.id))
    answer = admin.patch(f"/users/{alice.id}", {"disabled": True})
    assert (answer.status_code, answer.json["disabled"]) == (200, True)

    bearer = {"Authorization": f"Bearer {alice.refresh_token}"}
    credentials = {"username": "alice", "password": PASSWORD}
    for refused in (
        alice.get("/tasks"),
        alice.get("/auth/me"),
        alice.get(f"/users/{alice.id}"),
        script.get("/auth/me"),
        client.post("/api/v1/auth/refresh", headers=bearer),
        client.post("/api/v1/auth/login", json=credentials),
    ):
        assert_problem(refused, 403, "account_disabled")
    wrong = client.post("/api/v1/auth/login", json={**credentials, "password": "not this one"})
    assert_problem(wrong, 401, "invalid_credentials")
    assert stored(select(Session.id).where(Session.user_id == alice.id)) == sessions

    answer = admin.patch(f"/users/{alice.id}", {"disabled": False})
    assert (answer.status_code, answer.json["disabled"]) == (200, False)
    assert alice.get("/auth/me").status_code == script.get("/auth/me").status_code == 200
    assert accounts.log_in("alice").id == alice.id
    told = [event for event in events(alice.id) if event[0] != "login_failed"]
    assert told == [("account_disabled", admin.id, {}), ("account_enabled", admin.id, {})]


@pytest.mark.parametrize("changes", [{}, {"role": "user"}, {"disabled": False}])
def test_a_change_of_nothing_changes_and_records_nothing(admin, alice, events, changes):
    before = admin.get(f"/users/{alice.id}").json
    answer = admin.patch(f"/users/{alice.id}", changes)
    assert (answer.status_code, answer.json) == (200, before)
    assert events(alice.id) == []


def test_a_second_disabling_keeps_the_time_of_the_first(admin, alice, stored):
    admin.patch(f"/users/{alice.id}", {"disabled": True})
    before = stored(select(User.disabled_at, User.updated_at).where(User.id == alice.id))
    admin.patch(f"/users/{alice.id}", {"disabled": True})
    after = stored(select(User.disabled_at, User.updated_at).where(User.id == alice.id))
    assert after == before


def test_both_can_be_changed_at_once_as_a_merge_patch(admin, alice, events):
    answer = admin.call(
        "PATCH",
        f"/users/{alice.id}",
        data='{"role": "admin", "disabled": true}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert (answer.json["role"], answer.json["disabled"]) == ("admin", True)
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
def test_an_unacceptable_change_is_refused_by_name_and_changes_nothing(admin, alice, field, value):
    before = admin.get(f"/users/{alice.id}").json
    answer = admin.patch(f"/users/{alice.id}", {"role": "admin", field: value})
    assert pointers(answer) == {f"/{field}"}
    assert admin.get(f"/users/{alice.id}").json == before


def test_a_deleted_account_is_gone_with_all_that_is_its_own(admin, alice, bob, events, stored):
    for account in (alice, bob):
        account.post("/tasks", {"title": account.username}, headers={"Idempotency-Key": "k"})
        account.post("/auth/tokens", {"name": "script", "scopes": ["tasks:read"]})
    answer = admin.delete(f"/users/{alice.id}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored(select(Task.title)) == [("bob",)]
    for owner in (PersonalToken.user_id, IdempotencyRecord.user_id):
        assert stored(select(owner)) == [(bob.id,)]
    assert alice.id not in [user_id for (user_id,) in stored(select(Session.user_id))]
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    for again in (admin.get, admin.delete):
        assert_problem(again(f"/users/{alice.id}"), 404, "not_found")
    assert events(alice.id) == [("account_deleted", admin.id, {})]


def test_the_record_of_an_account_outlives_it(admin, alice):
    admin.delete(f"/users/{alice.id}")
    told = admin.get(f"/users/{alice.id}/audit").json["data"]
    assert [event["event"] for event in told] == [
        "account_deleted",
        "login_succeeded",
        "account_registered",
    ]


LEAVING = [("PATCH", {"role": "user"}), ("PATCH", {"disabled": True}), ("DELETE", None)]


@pytest.mark.parametrize(("method", "body"), LEAVING)
def test_the_last_administrator_can_not_be_removed(admin, alice, events, method, body):
    before = admin.get(f"/users/{admin.id}").json
    answer = admin.call(method, f"/users/{admin.id}", json=body)
    told = assert_problem(answer, 409, "conflict")
    assert told["detail"] == "The last administrator can't be removed."
    assert admin.get(f"/users/{admin.id}").json == before
    assert events(admin.id) == []


@pytest.mark.parametrize(("method", "body"), LEAVING)
def test_a_disabled_administrator_is_none(admin, accounts, method, body):
    other = accounts.make("other", admin=True)
    assert admin.patch(f"/users/{other.id}", {"disabled": True}).status_code == 200
    assert_problem(admin.call(method, f"/users/{admin.id}", json=body), 409, "conflict")
    assert_problem(admin.delete("/auth/me"), 409, "conflict")
    assert admin.call(method, f"/users/{other.id}", json=body).status_code in {200, 204}


@pytest.mark.parametrize(("method", "body"), LEAVING)
def test_an_administrator_may_act_on_itself_while_another_is_there(
    admin, accounts, stored, method, body
):
    other = accounts.make("other", admin=True)
    assert admin.call(method, f"/users/{admin.id}", json=body).status_code in {200, 204}
    assert admin.get("/users").status_code in {401, 403}
    able = select(User.id).where(User.role == Role.admin, User.disabled_at.is_(None))
    assert stored(able) == [(other.id,)]


@pytest.mark.parametrize(("method", "body"), LEAVING)
def test_of_administrators_that_remove_each_other_at_once_one_stays(
    app, accounts, stored, method, body
):
    admins = [accounts.make(f"root{number}", admin=True) for number in range(4)]
    start = Barrier(4)

    def remove_next(number):
        actor, target = admins[number], admins[(number + 1) % 4]
        actor.client = app.test_client()
        start.wait()
        return actor.call(method, f"/users/{target.id}", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = set(pool.map(remove_next, range(4)))
    able = select(func.count()).where(User.role == Role.admin, User.disabled_at.is_(None))
    [(left,)] = stored(able)
    assert left >= 1
    assert statuses <= {200, 204, 401, 403, 409}
    assert statuses & {200, 204}


@pytest.mark.parametrize("_", range(5))
def test_of_two_that_demote_each_other_one_stays(app, accounts, stored, _):
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
        answer = admin.call(method, f"/users/{alice.id}{path}", json=body)
    assert answer.status_code in {200, 204}
    assert len(seen) == count, seen
