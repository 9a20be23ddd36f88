"""Password reset with an emailed token."""

from base64 import urlsafe_b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import select

from app.audit.models import AuditEvent
from app.auth.models import EmailToken, PersonalToken, Session, User
from app.extensions import db
from app.outbox.models import OutboxMessage
from tests.accounts import PASSWORD
from tests.mailbox import TOKEN, recipients_and_subjects
from tests.problems import assert_problem, pointers

NEW_PASSWORD = "a wholly new passphrase"
START = datetime(2040, 1, 31, 9, tzinfo=UTC)
ALICE_EMAIL = "alice@example.com"
FORGOT = "/api/v1/auth/password/forgot"
RESET = "/api/v1/auth/password/reset"


@pytest.fixture
def request_token(alice, client, mails):
    """Request a password reset for alice, and return the emailed token."""

    def request(email=ALICE_EMAIL):
        mails.arrived()
        assert client.post(FORGOT, json={"email": email}).status_code == 202
        return mails.token(ALICE_EMAIL)

    return request


def reset(client, token, password=NEW_PASSWORD):
    return client.post(RESET, json={"token": token, "new_password": password})


def assert_token_rejected(response):
    body = assert_problem(response, 422, "validation_error")
    detail = "The token is invalid, has expired or was used; request a new one."
    assert body["errors"] == [{"pointer": "/token", "detail": detail}]


def test_mailed_token_sets_a_new_password_once(request_token, client, accounts, alice):
    token = request_token()
    response = reset(client, token)
    assert (response.status_code, response.data) == (204, b"")
    assert accounts.log_in("alice", NEW_PASSWORD).id == alice.id
    old = client.post("/api/v1/auth/login", json={"username": "alice", "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")
    assert_token_rejected(reset(client, token, "yet another passphrase"))
    assert accounts.log_in("alice", NEW_PASSWORD).id == alice.id


def test_reset_ends_sessions_and_deletes_personal_tokens(
    request_token, client, accounts, alice, bob, stored
):
    other = accounts.log_in("alice")
    token_of_alice = alice.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    token_of_bob = bob.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    reset(client, request_token())
    for account in (alice, other):
        assert_problem(account.get("/auth/me"), 401, "token_revoked")
    bearer = {"Authorization": f"Bearer {token_of_alice['token']}"}
    assert_problem(client.get("/api/v1/auth/me", headers=bearer), 401, "invalid_token")
    assert stored(select(Session.user_id)) == [(bob.id,)]
    assert stored(select(PersonalToken.id)) == [(token_of_bob["id"],)]


def test_reset_verifies_email_and_is_notified(request_token, client, accounts, mails):
    reset(client, request_token())
    assert accounts.log_in("alice", NEW_PASSWORD).login["user"]["email_verified"] is True
    assert recipients_and_subjects(mails.arrived()) == {(ALICE_EMAIL, "Your password was reset")}


def test_email_is_normalized(request_token, client, accounts, alice):
    assert reset(client, request_token(" ALICE@Example.COM ")).status_code == 204
    assert accounts.log_in("alice", NEW_PASSWORD).id == alice.id


def test_response_does_not_reveal_whether_a_user_exists(client, alice, mails, statements):
    mails.arrived()
    responses = []
    for email in (ALICE_EMAIL, "nobody@example.com"):
        with statements() as seen:
            response = client.post(FORGOT, json={"email": email}, headers={"X-Request-ID": "same"})
        responses.append((response.status_code, response.data, dict(response.headers), seen))
    assert responses[0] == responses[1]
    status, body, _, seen = responses[0]
    assert (status, body, len(seen)) == (202, b"", 1)
    assert [email.to for email in mails.arrived()] == [ALICE_EMAIL]


@pytest.mark.parametrize(
    "email",
    [
        None,
        "",
        "nowhere",
        "alice@example.com\r\nBcc: eve@example.com",
        "alice@example.com\nBcc: eve@example.com",
        "alice@example.com, eve@example.com",
        "Alice <alice@example.com>",
    ],
)
def test_malformed_email_is_rejected(client, alice, mails, email):
    mails.arrived()
    assert pointers(client.post(FORGOT, json={"email": email})) == {"/email"}
    assert mails.arrived() == []


@pytest.mark.parametrize("password", ["short", "password1", "alice@example.com"])
def test_weak_password_is_rejected_and_token_stays_valid(
    request_token, client, accounts, alice, stored, password
):
    token = request_token()
    before = stored(select(User.password_hash))
    assert pointers(reset(client, token, password)) == {"/new_password"}
    assert stored(select(User.password_hash)) == before
    assert alice.get("/auth/me").status_code == 200
    assert reset(client, token).status_code == 204


def test_reset_token_expires_after_one_hour(request_token, client):
    with time_machine.travel(START, tick=False) as clock:
        token = request_token()
        clock.shift(timedelta(hours=1))
        assert_token_rejected(reset(client, token))
        clock.shift(timedelta(seconds=-1))
        assert reset(client, token).status_code == 204


def test_new_reset_token_replaces_the_previous_one(request_token, client, stored):
    first, second = request_token(), request_token()
    assert_token_rejected(reset(client, first))
    purposes = sorted(purpose for (purpose,) in stored(select(EmailToken.purpose)))
    assert purposes == ["reset_password", "verify_email"]
    assert reset(client, second).status_code == 204


@pytest.mark.parametrize(
    "token", ["x", "x" * 43, "x" * 100, "ü" * 43, "' OR 1=1 --", "..", "tap_" + "x" * 43]
)
def test_unknown_token_is_rejected_like_a_used_one(client, alice, token):
    assert_token_rejected(reset(client, token))


@pytest.mark.parametrize("token", [None, "", 7, ["x"], "x" * 101, "a\0b"])
def test_malformed_token_is_a_validation_error(client, alice, token):
    assert pointers(reset(client, token)) == {"/token"}


def test_token_of_another_purpose_is_rejected(client, alice, mails):
    assert_token_rejected(reset(client, mails.token(ALICE_EMAIL)))


def test_access_token_is_not_a_reset_token(client, alice):
    assert pointers(reset(client, alice.access_token)) == {"/token"}


def disable(app, account):
    with app.app_context():
        db.session.get_one(User, account.id).disabled_at = START
        db.session.commit()


def test_disabled_user_is_mailed_no_token(app, alice, client, mails, stored):
    mails.arrived()
    disable(app, alice)
    assert client.post(FORGOT, json={"email": ALICE_EMAIL}).status_code == 202
    assert mails.arrived() == []
    assert stored(select(EmailToken.purpose)) == [("verify_email",)]
    requested = select(AuditEvent.id).where(AuditEvent.event == "password_reset_requested")
    assert stored(requested) == []


def test_token_of_disabled_user_is_invalid(app, alice, request_token, client, stored):
    token = request_token()
    before = stored(select(User.password_hash))
    disable(app, alice)
    assert_token_rejected(reset(client, token))
    assert stored(select(User.password_hash)) == before


def change_password(alice, mails):
    change = {"current_password": PASSWORD, "new_password": "a phrase of her own"}
    assert alice.put("/auth/password", change).status_code == 204


def change_address(alice, mails):
    alice.patch("/auth/me", {"email": "new@example.com"})
    proof = {"token": mails.token("new@example.com")}
    assert alice.post("/auth/email/verify", proof).status_code == 204


@pytest.mark.parametrize("change", [change_password, change_address])
def test_password_or_email_change_invalidates_reset_token(
    alice, request_token, client, mails, stored, change
):
    token = request_token()
    change(alice, mails)
    before = stored(select(User.password_hash))
    assert_token_rejected(reset(client, token))
    assert stored(select(User.password_hash)) == before


def test_concurrent_use_of_one_token_succeeds_once(app, alice, request_token, accounts):
    token = request_token()
    start = Barrier(8)

    def use(number):
        client = app.test_client()
        start.wait()
        return reset(client, token, f"{NEW_PASSWORD} {number}").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(use, range(8)))
    assert sorted(statuses) == [204] + [422] * 7
    assert accounts.log_in("alice", f"{NEW_PASSWORD} {statuses.index(204)}").id == alice.id


def dump_database(app):
    """Return all rows of all tables as text."""
    with app.app_context():
        rows = [
            row for table in db.metadata.sorted_tables for row in db.session.execute(table.select())
        ]
    return str(rows)


def test_plain_token_is_not_stored(app, alice, client, mails):
    client.post(FORGOT, json={"email": ALICE_EMAIL})
    before = dump_database(app)
    assert "forgotten_password" in before
    tokens = [token for email in mails.arrived() for token in TOKEN.findall(email.text)]
    after = dump_database(app)
    assert len(tokens) == 2
    for token in tokens:
        for dump in (before, after):
            assert token not in dump
            assert repr(urlsafe_b64decode(f"{token}=")) not in dump


def test_reset_is_recorded_once_with_its_origin(app, request_token, client, stored, alice):
    token = request_token()
    client.post(
        RESET,
        json={"token": token, "new_password": NEW_PASSWORD},
        headers={"X-Request-ID": "the-reset"},
    )
    columns = (AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)
    events = select(*columns, AuditEvent.ip_address).where(AuditEvent.event.contains("reset"))
    assert stored(events.order_by(AuditEvent.id)) == [
        ("password_reset_requested", alice.id, None, {}, "127.0.0.1"),
        ("password_reset", alice.id, alice.id, {}, "127.0.0.1"),
    ]
    ids = select(AuditEvent.request_id).where(AuditEvent.event == "password_reset")
    assert stored(ids) == [("the-reset",)]


def test_without_mail_nothing_is_enqueued(alice, client, no_mail, stored):
    before = stored(select(OutboxMessage.id))
    assert client.post(FORGOT, json={"email": ALICE_EMAIL}).status_code == 202
    assert stored(select(OutboxMessage.id)) == before


def test_statement_count(app, request_token, client, statements):
    token = request_token()
    with statements() as seen:
        assert reset(client, token).status_code == 204
    # PostgreSQL inserts both audit events in one statement.
    is_postgresql = app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql")
    assert len(seen) == (9 if is_postgresql else 10), seen
    with statements() as seen:
        assert_token_rejected(reset(client, token))
    assert len(seen) == 1, seen
