"""What is recorded of an account: each event, by whom it was caused, and from where."""

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
NEW = "a wholly new passphrase"
WRONG = "nobody has this passphrase"
AGENT = "audit-test/1.0"
COLUMNS = (AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)


@pytest.fixture
def recorded(stored):
    """What was recorded since one looked last: event, account, actor, details."""
    last = 0

    def read():
        nonlocal last
        since = select(AuditEvent.id, *COLUMNS).where(AuditEvent.id > last)
        rows = stored(since.order_by(AuditEvent.id))
        last = max((row[0] for row in rows), default=last)
        return [row[1:] for row in rows]

    return read


class Life:
    """An account's life, and that of the administrator beside it; each step tells its events."""

    def __init__(self, app, recorded, mails, root):
        self.app, self.recorded, self.mails, self.root = app, recorded, mails, root
        self.met = set()

    def call(self, method, path, account=None, *, token=None, json=None):
        headers = {"User-Agent": AGENT, "X-Request-ID": f"{method}{path.replace('/', '.')}"}
        if token := token or (account and account.access_token):
            headers["Authorization"] = f"Bearer {token}"
        return self.app.test_client().open(
            f"/api/v1{path}",
            method=method,
            headers=headers,
            environ_base={"REMOTE_ADDR": "192.0.2.7"},
            json=json,
        )

    def mine(self, event, **details):
        """An event that the account caused itself."""
        return event, self.id, self.id, details

    def then(self, answer, status, *expected):
        """Expect these events, and no others, since one looked last."""
        assert answer.status_code == status, answer.text
        found = self.recorded()
        assert found == list(expected)
        self.met |= {event for event, *_ in found}
        return answer

    def log_in(self, status, *expected, password=PASSWORD, username="ada"):
        said = {"username": username, "password": password}
        return self.then(self.call("POST", "/auth/login", json=said), status, *expected)

    def begin(self, login):
        self.ada = Account(self.app.test_client(), login.json)


def opens_an_account(life):
    account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
    opened = life.call("POST", "/auth/register", json=account)
    life.id = opened.json["id"]
    life.then(opened, 201, life.mine("account_registered"))
    proof = {"token": life.mails.token("ada@example.com")}
    proved = life.call("POST", "/auth/email/verify", json=proof)
    life.then(proved, 204, life.mine("email_verified"))


def logs_in(life):
    life.log_in(401, life.mine("login_failed"), password=WRONG)
    life.log_in(401, ("login_failed", None, None, {}), username="nobody")
    life.begin(life.log_in(200, life.mine("login_succeeded", session_id=ANY)))
    wrong = life.call("POST", "/auth/reauthenticate", life.ada, json={"password": WRONG})
    life.then(wrong, 401, life.mine("reauthentication_failed"))


def changes_the_account(life):
    changed = life.call("PATCH", "/auth/me", life.ada, json={"time_zone": "Asia/Tokyo"})
    life.then(changed, 200, life.mine("account_changed", fields=["time_zone"]))
    moved = life.call("PATCH", "/auth/me", life.ada, json={"email": "ada@example.org"})
    life.then(moved, 200, life.mine("email_change_requested"))
    proof = {"token": life.mails.token("ada@example.org")}
    confirmed = life.call("POST", "/auth/email/verify", json=proof)
    life.then(confirmed, 204, life.mine("email_changed"))


def makes_a_token(life):
    asked = {"name": "script", "scopes": ["tasks:write"]}
    made = life.call("POST", "/auth/tokens", life.ada, json=asked)
    token_id = made.json["id"]
    life.then(made, 201, life.mine("personal_token_created", token_id=token_id))
    gone = life.call("DELETE", f"/auth/tokens/{token_id}", life.ada)
    life.then(gone, 204, life.mine("personal_token_deleted", token_id=token_id))


def works(life):
    task = life.call("POST", "/tasks", life.ada, json={"title": "hers"}).json
    deleted = life.call("DELETE", f"/tasks/{task['id']}", life.root)
    life.then(deleted, 204, ("task_deleted", life.id, life.root.id, {"task_id": task["id"]}))
    exported = life.call("GET", "/auth/me/export", life.ada)
    life.then(exported, 200, life.mine("data_exported"))


def loses_a_token(life):
    refresh = {"token": life.ada.refresh_token}
    assert life.call("POST", "/auth/refresh", **refresh).status_code == 200
    life.clock.shift(timedelta(seconds=11))
    reused = life.call("POST", "/auth/refresh", **refresh)
    life.then(reused, 401, ("token_reused", life.id, None, ANY))


def forgets_the_password(life):
    asked = life.call("POST", "/auth/password/forgot", json={"email": "ada@example.org"})
    reset = {"token": life.mails.token("ada@example.org"), "new_password": NEW}
    life.then(asked, 202, ("password_reset_requested", life.id, None, {}))
    done = life.call("POST", "/auth/password/reset", json=reset)
    life.then(done, 204, life.mine("password_reset"))
    life.begin(life.log_in(200, life.mine("login_succeeded", session_id=ANY), password=NEW))
    change = {"current_password": NEW, "new_password": PASSWORD}
    changed = life.call("PUT", "/auth/password", life.ada, json=change)
    life.then(changed, 204, life.mine("password_changed"))


def has_a_second_factor(life):
    enrolled = life.call("POST", "/auth/totp", life.ada)
    code = {"code": TOTP(enrolled.json["secret"]).now()}
    confirmed = life.call("POST", "/auth/totp/confirm", life.ada, json=code)
    life.then(confirmed, 200, life.mine("second_factor_enabled"))
    due = life.log_in(401)
    for code, status, *expected in (
        ("000000", 401, life.mine("second_factor_failed")),
        (
            confirmed.json["recovery_codes"][0],
            200,
            life.mine("recovery_code_used"),
            life.mine("login_succeeded", session_id=ANY),
        ),
    ):
        proof = {"challenge": due.json["challenge"], "code": code}
        passed = life.call("POST", "/auth/login/second-factor", json=proof)
        life.then(passed, status, *expected)
    life.begin(passed)
    removed = life.call("DELETE", "/auth/totp", life.ada)
    life.then(removed, 204, life.mine("second_factor_removed"))


def logs_out(life):
    others = life.call("DELETE", "/auth/sessions", life.ada)
    life.then(others, 204, life.mine("other_sessions_ended"))
    life.then(
        life.call("POST", "/auth/logout", life.ada), 204, life.mine("session_ended", session_id=ANY)
    )


def is_administered(life):
    for changes, event, details in (
        ({"role": "admin"}, "role_changed", {"from": "user", "to": "admin"}),
        ({"disabled": True}, "account_disabled", {}),
        ({"disabled": False}, "account_enabled", {}),
    ):
        changed = life.call("PATCH", f"/users/{life.id}", life.root, json=changes)
        life.then(changed, 200, (event, life.id, life.root.id, details))
    deleted = life.call("DELETE", f"/users/{life.id}", life.root)
    life.then(deleted, 204, ("account_deleted", life.id, life.root.id, {}))


CHAPTERS = [
    opens_an_account,
    logs_in,
    changes_the_account,
    makes_a_token,
    works,
    loses_a_token,
    forgets_the_password,
    has_a_second_factor,
    logs_out,
    is_administered,
]


def test_every_event_is_recorded_with_whose_it_is_who_caused_it_and_from_where(
    app, recorded, mails, admin, stored
):
    with time_machine.travel(MOMENT) as clock:
        life = Life(app, recorded, mails, admin.with_new_client())
        life.clock = clock
        recorded()
        for chapter in CHAPTERS:
            chapter(life)
    assert life.met == set(Event)
    columns = (AuditEvent.event, AuditEvent.ip_address, AuditEvent.request_id)
    rows = stored(select(*columns).where(AuditEvent.user_agent == AGENT))
    assert {event for event, *_ in rows} == set(Event)
    assert {address for _, address, _ in rows} == {"192.0.2.7"}
    called = {event: request_id for event, _, request_id in rows}
    assert called["account_registered"] == "POST.auth.register"
    assert called["data_exported"] == "GET.auth.me.export"
    assert called["role_changed"] == f"PATCH.users.{life.id}"


def test_what_happened_is_not_changed_afterwards(app, alice, stored):
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


def test_what_is_refused_after_it_was_recorded_is_not_in_the_record(admin, stored):
    before = stored(select(AuditEvent.id))
    assert_problem(admin.delete("/auth/me"), 409, "conflict")
    assert_problem(admin.delete("/tasks/1000000"), 404, "not_found")
    assert stored(select(AuditEvent.id)) == before


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_is_recorded_first_of_all_is_kept_with_what_follows_or_not_at_all(app, stored, end):
    with app.app_context():
        audit.record(Event.data_exported, user_id=None, actor_id=None, part=1)
        assert stored(select(AuditEvent.id)) == []
        getattr(db.session, end)()
    kept = [("data_exported", None, None, {"part": 1})] if end == "commit" else []
    assert [tuple(row) for row in stored(select(*COLUMNS))] == kept


@pytest.fixture
def many(alice):
    """An account of which there are five events."""
    for zone in ("Asia/Tokyo", "Europe/Zurich", "UTC"):
        alice.patch("/auth/me", {"time_zone": zone})
    return alice


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
@pytest.mark.parametrize("by", ["itself", "an administrator"])
def test_the_record_comes_in_pages_the_newest_first(many, admin, limit, by):
    reader, path = {
        "itself": (many, "/auth/me/audit"),
        "an administrator": (admin, f"/users/{many.id}/audit"),
    }[by]
    seen, query = [], {"limit": limit}
    while True:
        page = reader.get(path, query_string=query).json
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    kinds = [event["event"] for event in seen]
    assert kinds == ["account_changed"] * 3 + ["login_succeeded", "account_registered"]
    assert len({event["id"] for event in seen}) == 5
    assert {event["user_id"] for event in seen} == {many.id}


def test_each_reads_its_own_record_alone(many, bob):
    assert {event["user_id"] for event in bob.get("/auth/me/audit").json["data"]} == {bob.id}
    cursor = many.get("/auth/me/audit", query_string={"limit": 1}).json["next_cursor"]
    foreign = bob.get("/auth/me/audit", query_string={"cursor": cursor})
    assert_problem(foreign, 422, "invalid_cursor")
    for user_id in (many.id, bob.id, 10**6):
        assert_problem(bob.get(f"/users/{user_id}/audit"), 403, "forbidden")


def test_an_unknown_account_has_no_record(admin):
    assert_problem(admin.get("/users/1000000/audit"), 404, "not_found")


def test_an_account_whose_events_are_purged_has_an_empty_record(app, admin, alice):
    with app.app_context():
        db.session.execute(delete(AuditEvent))
        db.session.commit()
    answer = admin.get(f"/users/{alice.id}/audit")
    assert (answer.status_code, answer.json["data"]) == (200, [])


def test_deletions_of_a_batch_are_recorded_for_each_owner_by_one_statement(
    admin, alice, bob, recorded, statements
):
    tasks = [account.task() for account in (alice, bob, alice)]
    operations = [{"op": "delete", "id": task["id"]} for task in tasks]
    recorded()
    with statements() as seen:
        answer = admin.post("/tasks/batch", {"operations": operations})
    assert [result["status"] for result in answer.json["results"]] == [204] * 3
    assert sum("INSERT INTO audit_events" in statement for statement in seen) == 1
    assert recorded() == [
        ("task_deleted", owner.id, admin.id, {"task_id": task["id"]})
        for owner, task in zip((alice, bob, alice), tasks, strict=True)
    ]


def test_a_batch_records_what_it_deletes_and_nothing_that_it_does_not(alice, bob, recorded):
    own, foreign = alice.task(), bob.task()
    ids = (own["id"], foreign["id"], 10**6)
    operations = [{"op": "delete", "id": task_id} for task_id in ids]
    recorded()
    alice.post("/tasks/batch", {"operations": operations, "atomic": True})
    assert recorded() == []
    alice.post("/tasks/batch", {"operations": operations})
    assert recorded() == [("task_deleted", alice.id, alice.id, {"task_id": own["id"]})]


def test_no_record_holds_a_password_a_token_or_an_address(
    client, accounts, alice, mails, stored, recorded
):
    secrets = [PASSWORD, NEW, WRONG, "alice@example.com", "alice@example.org"]
    login = {"email": "alice@example.com", "password": WRONG}
    client.post("/api/v1/auth/login", json=login)
    client.post("/api/v1/auth/login", json={"username": WRONG, "password": WRONG})
    alice.post("/auth/reauthenticate", {"password": WRONG})
    made = alice.post("/auth/tokens", {"name": "script", "scopes": ["tasks:read"]}).json
    alice.delete(f"/auth/tokens/{made['id']}")
    secrets += [made["token"], alice.access_token, alice.refresh_token]
    alice.patch("/auth/me", {"email": "alice@example.org"})
    secrets.append(mails.token("alice@example.org"))
    client.post("/api/v1/auth/password/forgot", json={"email": "alice@example.com"})
    secrets.append(mails.token("alice@example.com"))
    totp, codes = alice.enable_second_factor()
    secrets += [totp.secret, totp.now(), *codes]
    change = {"current_password": PASSWORD, "new_password": NEW}
    assert alice.put("/auth/password", change).status_code == 204
    secrets += [row for (row,) in stored(select(User.password_hash))]
    assert len(recorded()) >= 9
    for secret in secrets:
        held = or_(*(cast(column, String).contains(secret) for column in AuditEvent.__table__.c))
        found = stored(select(AuditEvent.event, AuditEvent.details).where(held))
        assert found == [], secret
    assert stored(select(func.count()).select_from(RecoveryCode)) == [(len(codes),)]
    assert stored(select(func.count()).select_from(Session)) == [(1,)]
