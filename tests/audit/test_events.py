"""Audit events: who caused what, and from where."""

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
import time_machine
from pyotp import TOTP
from sqlalchemy import String, cast, delete, func, or_, select, update
from sqlalchemy.exc import DBAPIError

from app.audit import services as audit
from app.audit.models import AuditEvent, Event
from app.auth.models import RecoveryCode, Session, User
from app.extensions import db
from tests.accounts import PASSWORD, Account
from tests.problems import assert_problem

MOMENT = datetime(2040, 1, 31, 9, tzinfo=UTC)
NEW_PASSWORD = "a wholly new passphrase"
WRONG_PASSWORD = "nobody has this passphrase"
USER_AGENT = "audit-test/1.0"
COLUMNS = (AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)


@pytest.fixture
def new_events(stored):
    """Return the events since the last call: event, user, actor, details."""
    last = 0

    def read():
        nonlocal last
        since = select(AuditEvent.id, *COLUMNS).where(AuditEvent.id > last)
        rows = stored(since.order_by(AuditEvent.id))
        last = max((row[0] for row in rows), default=last)
        return [row[1:] for row in rows]

    return read


class Scenario:
    """A user and an administrator whose requests cause every audit event."""

    def __init__(self, app, new_events, mails, admin):
        self.app, self.new_events, self.mails, self.admin = app, new_events, mails, admin
        self.seen_events = set()

    def call(self, method, path, account=None, *, token=None, json=None):
        headers = {"User-Agent": USER_AGENT, "X-Request-ID": f"{method}{path.replace('/', '.')}"}
        if token := token or (account and account.access_token):
            headers["Authorization"] = f"Bearer {token}"
        return self.app.test_client().open(
            f"/api/v1{path}",
            method=method,
            headers=headers,
            environ_base={"REMOTE_ADDR": "192.0.2.7"},
            json=json,
        )

    def own_event(self, event, **details):
        """An event that the user caused."""
        return event, self.id, self.id, details

    def expect(self, response, status, *expected):
        """Assert the status, and exactly these events since the last call."""
        assert response.status_code == status, response.text
        events = self.new_events()
        assert events == list(expected)
        self.seen_events |= {event for event, *_ in events}
        return response

    def log_in(self, status, *expected, password=PASSWORD, username="ada"):
        payload = {"username": username, "password": password}
        return self.expect(self.call("POST", "/auth/login", json=payload), status, *expected)

    def use_session(self, login):
        self.ada = Account(self.app.test_client(), login.json)


def register(scenario):
    account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    registration = scenario.call("POST", "/auth/register", json=account)
    scenario.id = registration.json["id"]
    scenario.expect(registration, 201, scenario.own_event("account_registered"))
    proof = {"token": scenario.mails.token("ada@example.com")}
    verified = scenario.call("POST", "/auth/email/verify", json=proof)
    scenario.expect(verified, 204, scenario.own_event("email_verified"))


def log_in(scenario):
    scenario.log_in(401, scenario.own_event("login_failed"), password=WRONG_PASSWORD)
    scenario.log_in(401, ("login_failed", None, None, {}), username="nobody")
    scenario.use_session(
        scenario.log_in(200, scenario.own_event("login_succeeded", session_id=ANY))
    )
    wrong = scenario.call(
        "POST", "/auth/reauthenticate", scenario.ada, json={"password": WRONG_PASSWORD}
    )
    scenario.expect(wrong, 401, scenario.own_event("reauthentication_failed"))


def update_account(scenario):
    changed = scenario.call("PATCH", "/auth/me", scenario.ada, json={"time_zone": "Asia/Tokyo"})
    scenario.expect(changed, 200, scenario.own_event("account_changed", fields=["time_zone"]))
    requested = scenario.call("PATCH", "/auth/me", scenario.ada, json={"email": "ada@example.org"})
    scenario.expect(requested, 200, scenario.own_event("email_change_requested"))
    proof = {"token": scenario.mails.token("ada@example.org")}
    confirmed = scenario.call("POST", "/auth/email/verify", json=proof)
    scenario.expect(confirmed, 204, scenario.own_event("email_changed"))


def create_and_delete_token(scenario):
    payload = {"name": "script", "scopes": ["tasks:write"]}
    created = scenario.call("POST", "/auth/tokens", scenario.ada, json=payload)
    token_id = created.json["id"]
    scenario.expect(created, 201, scenario.own_event("personal_token_created", token_id=token_id))
    deleted = scenario.call("DELETE", f"/auth/tokens/{token_id}", scenario.ada)
    scenario.expect(deleted, 204, scenario.own_event("personal_token_deleted", token_id=token_id))


def delete_task_and_export_data(scenario):
    task = scenario.call("POST", "/tasks", scenario.ada, json={"title": "hers"}).json
    deleted = scenario.call("DELETE", f"/tasks/{task['id']}", scenario.admin)
    scenario.expect(
        deleted, 204, ("task_deleted", scenario.id, scenario.admin.id, {"task_id": task["id"]})
    )
    exported = scenario.call("GET", "/auth/me/export", scenario.ada)
    scenario.expect(exported, 200, scenario.own_event("data_exported"))


def reuse_refresh_token(scenario):
    refresh = {"token": scenario.ada.refresh_token}
    assert scenario.call("POST", "/auth/refresh", **refresh).status_code == 200
    scenario.clock.shift(timedelta(seconds=11))
    reused = scenario.call("POST", "/auth/refresh", **refresh)
    scenario.expect(reused, 401, ("token_reused", scenario.id, None, ANY))


def reset_and_change_password(scenario):
    requested = scenario.call("POST", "/auth/password/forgot", json={"email": "ada@example.org"})
    new_password = {"token": scenario.mails.token("ada@example.org"), "new_password": NEW_PASSWORD}
    scenario.expect(requested, 202, ("password_reset_requested", scenario.id, None, {}))
    reset = scenario.call("POST", "/auth/password/reset", json=new_password)
    scenario.expect(reset, 204, scenario.own_event("password_reset"))
    scenario.use_session(
        scenario.log_in(
            200, scenario.own_event("login_succeeded", session_id=ANY), password=NEW_PASSWORD
        )
    )
    change = {"current_password": NEW_PASSWORD, "new_password": PASSWORD}
    changed = scenario.call("PUT", "/auth/password", scenario.ada, json=change)
    scenario.expect(changed, 204, scenario.own_event("password_changed"))


def use_second_factor(scenario):
    enrolled = scenario.call("POST", "/auth/totp", scenario.ada)
    code = {"code": TOTP(enrolled.json["secret"]).now()}
    confirmed = scenario.call("POST", "/auth/totp/confirm", scenario.ada, json=code)
    scenario.expect(confirmed, 200, scenario.own_event("second_factor_enabled"))
    challenge = scenario.log_in(401)
    for code, status, *expected in (
        ("000000", 401, scenario.own_event("second_factor_failed")),
        (
            confirmed.json["recovery_codes"][0],
            200,
            scenario.own_event("recovery_code_used"),
            scenario.own_event("login_succeeded", session_id=ANY),
        ),
    ):
        proof = {"challenge": challenge.json["challenge"], "code": code}
        login = scenario.call("POST", "/auth/login/second-factor", json=proof)
        scenario.expect(login, status, *expected)
    scenario.use_session(login)
    removed = scenario.call("DELETE", "/auth/totp", scenario.ada)
    scenario.expect(removed, 204, scenario.own_event("second_factor_removed"))


def end_sessions(scenario):
    others = scenario.call("DELETE", "/auth/sessions", scenario.ada)
    scenario.expect(others, 204, scenario.own_event("other_sessions_ended"))
    scenario.expect(
        scenario.call("POST", "/auth/logout", scenario.ada),
        204,
        scenario.own_event("session_ended", session_id=ANY),
    )


def administer_user(scenario):
    for changes, event, details in (
        ({"role": "admin"}, "role_changed", {"from": "user", "to": "admin"}),
        ({"disabled": True}, "account_disabled", {}),
        ({"disabled": False}, "account_enabled", {}),
    ):
        changed = scenario.call("PATCH", f"/users/{scenario.id}", scenario.admin, json=changes)
        scenario.expect(changed, 200, (event, scenario.id, scenario.admin.id, details))
    deleted = scenario.call("DELETE", f"/users/{scenario.id}", scenario.admin)
    scenario.expect(deleted, 204, ("account_deleted", scenario.id, scenario.admin.id, {}))


STEPS = [
    register,
    log_in,
    update_account,
    create_and_delete_token,
    delete_task_and_export_data,
    reuse_refresh_token,
    reset_and_change_password,
    use_second_factor,
    end_sessions,
    administer_user,
]


def test_every_event_is_recorded_with_user_actor_and_origin(app, new_events, mails, admin, stored):
    with time_machine.travel(MOMENT) as clock:
        scenario = Scenario(app, new_events, mails, admin.with_new_client())
        scenario.clock = clock
        new_events()
        for step in STEPS:
            step(scenario)
    assert scenario.seen_events == set(Event)
    columns = (AuditEvent.event, AuditEvent.ip_address, AuditEvent.request_id)
    rows = stored(select(*columns).where(AuditEvent.user_agent == USER_AGENT))
    assert {event for event, *_ in rows} == set(Event)
    assert {address for _, address, _ in rows} == {"192.0.2.7"}
    request_ids = {event: request_id for event, _, request_id in rows}
    assert request_ids["account_registered"] == "POST.auth.register"
    assert request_ids["data_exported"] == "GET.auth.me.export"
    assert request_ids["role_changed"] == f"PATCH.users.{scenario.id}"


def test_audit_events_are_immutable(app, alice, stored):
    before = stored(select(AuditEvent.id, *COLUMNS))
    with app.app_context():
        for change in (
            update(AuditEvent).values(event="login_succeeded"),
            update(AuditEvent).where(AuditEvent.user_id == alice.id).values(actor_id=None),
        ):
            with pytest.raises(DBAPIError, match="audit_events are not changed"):
                db.session.execute(change)
            db.session.rollback()
    assert stored(select(AuditEvent.id, *COLUMNS)) == before


def test_event_of_rejected_request_is_rolled_back(admin, stored):
    before = stored(select(AuditEvent.id))
    assert_problem(admin.delete("/auth/me"), 409, "conflict")
    assert_problem(admin.delete("/tasks/1000000"), 404, "not_found")
    assert stored(select(AuditEvent.id)) == before


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_event_is_written_with_its_transaction(app, stored, end):
    with app.app_context():
        audit.record(Event.data_exported, user_id=None, actor_id=None, part=1)
        assert stored(select(AuditEvent.id)) == []
        getattr(db.session, end)()
    expected = [("data_exported", None, None, {"part": 1})] if end == "commit" else []
    assert [tuple(row) for row in stored(select(*COLUMNS))] == expected


@pytest.fixture
def user_with_five_events(alice):
    """A user with five audit events."""
    for zone in ("Asia/Tokyo", "Europe/Zurich", "UTC"):
        alice.patch("/auth/me", {"time_zone": zone})
    return alice


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
@pytest.mark.parametrize("reader", ["user", "administrator"])
def test_audit_log_is_paginated_newest_first(user_with_five_events, admin, limit, reader):
    account, path = {
        "user": (user_with_five_events, "/auth/me/audit"),
        "administrator": (admin, f"/users/{user_with_five_events.id}/audit"),
    }[reader]
    seen, query = [], {"limit": limit}
    while True:
        page = account.get(path, query_string=query).json
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    names = [event["event"] for event in seen]
    assert names == ["account_changed"] * 3 + ["login_succeeded", "account_registered"]
    assert len({event["id"] for event in seen}) == 5
    assert {event["user_id"] for event in seen} == {user_with_five_events.id}


def test_user_reads_only_own_audit_log(user_with_five_events, bob):
    assert {event["user_id"] for event in bob.get("/auth/me/audit").json["data"]} == {bob.id}
    cursor = user_with_five_events.get("/auth/me/audit", query_string={"limit": 1}).json[
        "next_cursor"
    ]
    foreign = bob.get("/auth/me/audit", query_string={"cursor": cursor})
    assert_problem(foreign, 422, "invalid_cursor")
    for user_id in (user_with_five_events.id, bob.id, 10**6):
        assert_problem(bob.get(f"/users/{user_id}/audit"), 403, "forbidden")


def test_audit_log_of_unknown_user_is_not_found(admin):
    assert_problem(admin.get("/users/1000000/audit"), 404, "not_found")


def test_audit_log_is_empty_after_purge(app, admin, alice):
    with app.app_context():
        db.session.execute(delete(AuditEvent))
        db.session.commit()
    response = admin.get(f"/users/{alice.id}/audit")
    assert (response.status_code, response.json["data"]) == (200, [])


def test_batch_deletions_are_recorded_in_one_statement(admin, alice, bob, new_events, statements):
    tasks = [account.task() for account in (alice, bob, alice)]
    operations = [{"op": "delete", "id": task["id"]} for task in tasks]
    new_events()
    with statements() as seen:
        response = admin.post("/tasks/batch", {"operations": operations})
    assert [result["status"] for result in response.json["results"]] == [204] * 3
    assert sum("INSERT INTO audit_events" in statement for statement in seen) == 1
    assert new_events() == [
        ("task_deleted", owner.id, admin.id, {"task_id": task["id"]})
        for owner, task in zip((alice, bob, alice), tasks, strict=True)
    ]


def test_batch_records_successful_deletions_only(alice, bob, new_events):
    own, foreign = alice.task(), bob.task()
    ids = (own["id"], foreign["id"], 10**6)
    operations = [{"op": "delete", "id": task_id} for task_id in ids]
    new_events()
    alice.post("/tasks/batch", {"operations": operations, "atomic": True})
    assert new_events() == []
    alice.post("/tasks/batch", {"operations": operations})
    assert new_events() == [("task_deleted", alice.id, alice.id, {"task_id": own["id"]})]


def test_events_contain_no_password_token_or_email(
    client, accounts, alice, mails, stored, new_events
):
    secrets = [PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, "alice@example.com", "alice@example.org"]
    login = {"email": "alice@example.com", "password": WRONG_PASSWORD}
    client.post("/api/v1/auth/login", json=login)
    client.post("/api/v1/auth/login", json={"username": WRONG_PASSWORD, "password": WRONG_PASSWORD})
    alice.post("/auth/reauthenticate", {"password": WRONG_PASSWORD})
    token = alice.post("/auth/tokens", {"name": "script", "scopes": ["tasks:read"]}).json
    alice.delete(f"/auth/tokens/{token['id']}")
    secrets += [token["token"], alice.access_token, alice.refresh_token]
    alice.patch("/auth/me", {"email": "alice@example.org"})
    secrets.append(mails.token("alice@example.org"))
    client.post("/api/v1/auth/password/forgot", json={"email": "alice@example.com"})
    secrets.append(mails.token("alice@example.com"))
    totp, codes = alice.enable_second_factor()
    secrets += [totp.secret, totp.now(), *codes]
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert alice.put("/auth/password", change).status_code == 204
    secrets += [row for (row,) in stored(select(User.password_hash))]
    assert len(new_events()) >= 9
    for secret in secrets:
        contains_secret = or_(
            *(cast(column, String).contains(secret) for column in AuditEvent.__table__.c)
        )
        events = stored(select(AuditEvent.event, AuditEvent.details).where(contains_secret))
        assert events == [], secret
    assert stored(select(func.count()).select_from(RecoveryCode)) == [(len(codes),)]
    assert stored(select(func.count()).select_from(Session)) == [(1,)]
