"""A forgotten password: a token by mail, once, for an hour."""

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
from tests.mailbox import TOKEN, told
from tests.problems import assert_problem, pointers

NEW = "a wholly new passphrase"
START = datetime(2040, 1, 31, 9, tzinfo=UTC)
HERS = "alice@example.com"
FORGOT = "/api/v1/auth/password/forgot"
RESET = "/api/v1/auth/password/reset"


@pytest.fixture
def forgotten(alice, client, mails):
    """The token that is mailed to one who asks."""

    def ask(email=HERS):
        mails.arrived()
        assert client.post(FORGOT, json={"email": email}).status_code == 202
        return mails.token(HERS)

    return ask


def reset(client, token, password=NEW):
    return client.post(RESET, json={"token": token, "new_password": password})


def assert_is_no_token(answer):
    body = assert_problem(answer, 422, "validation_error")
    detail = "The token is invalid, has expired or was used; request a new one."
    assert body["errors"] == [{"pointer": "/token", "detail": detail}]


def test_a_mailed_token_sets_a_new_password_once(forgotten, client, accounts, alice):
    token = forgotten()
    answer = reset(client, token)
    assert (answer.status_code, answer.data) == (204, b"")
    assert accounts.log_in("alice", NEW).id == alice.id
    old = client.post("/api/v1/auth/login", json={"username": "alice", "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")
    assert_is_no_token(reset(client, token, "yet another passphrase"))
    assert accounts.log_in("alice", NEW).id == alice.id


def test_a_reset_ends_every_session_and_deletes_every_personal_token(
    forgotten, client, accounts, alice, bob, stored
):
    other = accounts.log_in("alice")
    made = alice.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    his = bob.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    reset(client, forgotten())
    for account in (alice, other):
        assert_problem(account.get("/auth/me"), 401, "token_revoked")
    bearer = {"Authorization": f"Bearer {made['token']}"}
    assert_problem(client.get("/api/v1/auth/me", headers=bearer), 401, "invalid_token")
    assert stored(select(Session.user_id)) == [(bob.id,)]
    assert stored(select(PersonalToken.id)) == [(his["id"],)]


def test_a_reset_proves_the_address_and_tells_the_owner(forgotten, client, accounts, mails):
    reset(client, forgotten())
    assert accounts.log_in("alice", NEW).login["user"]["email_verified"] is True
    assert told(mails.arrived()) == {(HERS, "Your password was reset")}


def test_an_address_is_found_however_it_is_written(forgotten, client, accounts, alice):
    assert reset(client, forgotten(" ALICE@Example.COM ")).status_code == 204
    assert accounts.log_in("alice", NEW).id == alice.id


def test_nothing_of_an_account_shows_in_the_answer(client, alice, mails, statements):
    mails.arrived()
    answers = []
    for email in (HERS, "nobody@example.com"):
        with statements() as seen:
            answer = client.post(FORGOT, json={"email": email}, headers={"X-Request-ID": "same"})
        answers.append((answer.status_code, answer.data, dict(answer.headers), seen))
    assert answers[0] == answers[1]
    status, body, _, seen = answers[0]
    assert (status, body, len(seen)) == (202, b"", 1)
    assert [letter.to for letter in mails.arrived()] == [HERS]


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
def test_what_is_no_address_is_refused_whosever_it_holds(client, alice, mails, email):
    mails.arrived()
    assert pointers(client.post(FORGOT, json={"email": email})) == {"/email"}
    assert mails.arrived() == []


@pytest.mark.parametrize("password", ["short", "password1", "alice@example.com"])
def test_a_weak_password_is_refused_and_leaves_the_token_and_all_else_as_it_was(
    forgotten, client, accounts, alice, stored, password
):
    token = forgotten()
    before = stored(select(User.password_hash))
    assert pointers(reset(client, token, password)) == {"/new_password"}
    assert stored(select(User.password_hash)) == before
    assert alice.get("/auth/me").status_code == 200
    assert reset(client, token).status_code == 204


def test_a_token_lives_for_an_hour(forgotten, client):
    with time_machine.travel(START, tick=False) as clock:
        token = forgotten()
        clock.shift(timedelta(hours=1))
        assert_is_no_token(reset(client, token))
        clock.shift(timedelta(seconds=-1))
        assert reset(client, token).status_code == 204


def test_a_newer_token_replaces_older_ones(forgotten, client, stored):
    first, second = forgotten(), forgotten()
    assert_is_no_token(reset(client, first))
    purposes = sorted(purpose for (purpose,) in stored(select(EmailToken.purpose)))
    assert purposes == ["reset_password", "verify_email"]
    assert reset(client, second).status_code == 204


@pytest.mark.parametrize(
    "token", ["x", "x" * 43, "x" * 100, "ü" * 43, "' OR 1=1 --", "..", "tap_" + "x" * 43]
)
def test_what_never_was_a_token_is_refused_like_one_that_was_used(client, alice, token):
    assert_is_no_token(reset(client, token))


@pytest.mark.parametrize("token", [None, "", 7, ["x"], "x" * 101, "a\0b"])
def test_what_can_be_no_token_is_refused_by_name(client, alice, token):
    assert pointers(reset(client, token)) == {"/token"}


def test_a_token_of_another_purpose_resets_nothing(client, alice, mails):
    assert_is_no_token(reset(client, mails.token(HERS)))


def test_an_access_token_resets_nothing(client, alice):
    assert pointers(reset(client, alice.access_token)) == {"/token"}


def disable(app, account):
    with app.app_context():
        db.session.get_one(User, account.id).disabled_at = START
        db.session.commit()


def test_a_disabled_account_is_mailed_no_token(app, alice, client, mails, stored):
    mails.arrived()
    disable(app, alice)
    assert client.post(FORGOT, json={"email": HERS}).status_code == 202
    assert mails.arrived() == []
    assert stored(select(EmailToken.purpose)) == [("verify_email",)]
    requested = select(AuditEvent.id).where(AuditEvent.event == "password_reset_requested")
    assert stored(requested) == []


def test_a_disabled_accounts_token_is_none(app, alice, forgotten, client, stored):
    token = forgotten()
    before = stored(select(User.password_hash))
    disable(app, alice)
    assert_is_no_token(reset(client, token))
    assert stored(select(User.password_hash)) == before


def change_password(alice, mails):
    change = {"current_password": PASSWORD, "new_password": "a phrase of her own"}
    assert alice.put("/auth/password", change).status_code == 204


def change_address(alice, mails):
    alice.patch("/auth/me", {"email": "new@example.com"})
    proof = {"token": mails.token("new@example.com")}
    assert alice.post("/auth/email/verify", proof).status_code == 204


@pytest.mark.parametrize("change", [change_password, change_address])
def test_a_changed_password_or_address_kills_what_could_reset_the_password(
    alice, forgotten, client, mails, stored, change
):
    token = forgotten()
    change(alice, mails)
    before = stored(select(User.password_hash))
    assert_is_no_token(reset(client, token))
    assert stored(select(User.password_hash)) == before


def test_of_8_that_use_one_token_at_once_one_succeeds(app, alice, forgotten, accounts):
    token = forgotten()
    start = Barrier(8)

    def use(number):
        client = app.test_client()
        start.wait()
        return reset(client, token, f"{NEW} {number}").status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(use, range(8)))
    assert sorted(answers) == [204] + [422] * 7
    assert accounts.log_in("alice", f"{NEW} {answers.index(204)}").id == alice.id


def everything(app):
    """All that is stored, as text."""
    with app.app_context():
        rows = [
            row for table in db.metadata.sorted_tables for row in db.session.execute(table.select())
        ]
    return str(rows)


def test_a_token_is_stored_nowhere(app, alice, client, mails):
    client.post(FORGOT, json={"email": HERS})
    before = everything(app)
    assert "forgotten_password" in before
    tokens = [token for letter in mails.arrived() for token in TOKEN.findall(letter.text)]
    after = everything(app)
    assert len(tokens) == 2
    for token in tokens:
        for kept in (before, after):
            assert token not in kept
            assert repr(urlsafe_b64decode(f"{token}=")) not in kept


def test_a_reset_is_recorded_with_where_it_came_from_once(app, forgotten, client, stored, alice):
    token = forgotten()
    client.post(
        RESET, json={"token": token, "new_password": NEW}, headers={"X-Request-ID": "the-reset"}
    )
    columns = (AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)
    asked = select(*columns, AuditEvent.ip_address).where(AuditEvent.event.contains("reset"))
    assert stored(asked.order_by(AuditEvent.id)) == [
        ("password_reset_requested", alice.id, None, {}, "127.0.0.1"),
        ("password_reset", alice.id, alice.id, {}, "127.0.0.1"),
    ]
    ids = select(AuditEvent.request_id).where(AuditEvent.event == "password_reset")
    assert stored(ids) == [("the-reset",)]


def test_where_no_mail_can_be_sent_nothing_is_enqueued(alice, client, no_mail, stored):
    before = stored(select(OutboxMessage.id))
    assert client.post(FORGOT, json={"email": HERS}).status_code == 202
    assert stored(select(OutboxMessage.id)) == before


def test_statement_count(app, forgotten, client, statements):
    token = forgotten()
    with statements() as seen:
        assert reset(client, token).status_code == 204
    # PostgreSQL inserts both audit events by one statement.
    is_postgresql = app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql")
    assert len(seen) == (9 if is_postgresql else 10), seen
    with statements() as seen:
        assert_is_no_token(reset(client, token))
    assert len(seen) == 1, seen
