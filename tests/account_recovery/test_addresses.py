"""Verification and change of email addresses with emailed tokens."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import select

from app.audit.models import AuditEvent
from app.auth.models import EmailToken, User
from app.extensions import db
from app.mail import sender
from app.outbox.models import OutboxMessage
from tests.accounts import PASSWORD
from tests.mailbox import TOKEN, recipients_and_subjects
from tests.problems import assert_problem, pointers

START = datetime(2040, 1, 31, 9, tzinfo=UTC)
ALICE_EMAIL, NEW_EMAIL = "alice@example.com", "new@example.com"
VERIFY = "/api/v1/auth/email/verify"
NEW_PASSWORD = "a phrase of her own"


def verify(client, token):
    return client.post(VERIFY, json={"token": token})


def addresses(stored):
    return stored(select(User.email, User.email_verified).order_by(User.id))


def events(stored):
    """Return the audit events about email addresses."""
    columns = (AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)
    rows = stored(select(*columns).order_by(AuditEvent.id))
    return [row for row in rows if row[0].startswith("email")]


def test_new_user_is_mailed_a_verification_token(client, mails, stored):
    account = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    registration = client.post("/api/v1/auth/register", json=account)
    assert registration.json["email_verified"] is False
    response = verify(client, mails.token("eve@example.com"))
    assert (response.status_code, response.data) == (204, b"")
    assert addresses(stored) == [("eve@example.com", True)]
    assert events(stored) == [
        ("email_verified", registration.json["id"], registration.json["id"], {})
    ]


def test_verification_token_works_once_and_expires_after_24_hours(alice, client, mails, stored):
    with time_machine.travel(START, tick=False) as clock:
        token = mails.token(ALICE_EMAIL)
        clock.shift(timedelta(hours=24))
        assert pointers(verify(client, token)) == {"/token"}
        assert addresses(stored) == [(ALICE_EMAIL, False)]
        clock.shift(timedelta(seconds=-1))
        assert verify(client, token).status_code == 204
        assert pointers(verify(client, token)) == {"/token"}


def test_resent_token_replaces_the_previous_one(alice, client, mails):
    first = mails.token(ALICE_EMAIL)
    response = alice.post("/auth/email/resend")
    assert (response.status_code, response.data) == (202, b"")
    second = mails.token(ALICE_EMAIL)
    assert pointers(verify(client, first)) == {"/token"}
    assert verify(client, second).status_code == 204


def test_nothing_is_resent_after_verification(alice, client, mails):
    verify(client, mails.token(ALICE_EMAIL))
    assert alice.post("/auth/email/resend").status_code == 202
    assert mails.arrived() == []


def test_new_email_applies_after_confirmation(alice, client, mails, stored):
    verify(client, mails.token(ALICE_EMAIL))
    before = alice.get("/auth/me").json
    response = alice.patch("/auth/me", {"email": NEW_EMAIL})
    assert (response.status_code, response.json) == (200, before)
    assert addresses(stored) == [(ALICE_EMAIL, True)]
    assert verify(client, mails.token(NEW_EMAIL)).status_code == 204
    assert addresses(stored) == [(NEW_EMAIL, True)]
    assert stored(select(User.email_key)) == [(NEW_EMAIL,)]
    assert alice.get("/auth/me").json["email"] == NEW_EMAIL
    user_and_actor = (alice.id, alice.id)
    assert events(stored)[1:] == [
        ("email_change_requested", *user_and_actor, {}),
        ("email_changed", *user_and_actor, {}),
    ]


def test_old_address_is_notified_of_request_and_of_change(alice, client, mails):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    sent = mails.arrived()
    assert recipients_and_subjects(sent) == {
        (ALICE_EMAIL, "Your address is to change"),
        (NEW_EMAIL, "Confirm your new address"),
    }
    [token] = [token for email in sent for token in TOKEN.findall(email.text)]
    [to_old_address] = [email for email in sent if email.to == ALICE_EMAIL]
    assert token not in to_old_address.text
    assert NEW_EMAIL not in to_old_address.text
    verify(client, token)
    assert recipients_and_subjects(mails.arrived()) == {(ALICE_EMAIL, "Your address was changed")}


def test_other_changes_apply_before_email_is_confirmed(alice, mails):
    mails.arrived()
    response = alice.patch("/auth/me", {"email": NEW_EMAIL, "username": "alicia"})
    assert (response.json["username"], response.json["email"]) == ("alicia", ALICE_EMAIL)
    assert {email.to for email in mails.arrived()} == {ALICE_EMAIL, NEW_EMAIL}


def test_token_is_committed_before_its_email_is_sent(app, alice, mails, monkeypatch, stored):
    statuses = []

    def verify_immediately(template, to, *, token, **_):
        with ThreadPoolExecutor(1) as pool:
            # Succeeds only if the token is committed and no transaction is open.
            response = pool.submit(verify, app.test_client(), token).result(timeout=10)
            statuses.append(response.status_code)

    monkeypatch.setattr(sender, "send", verify_immediately)
    mails.arrived()
    assert statuses == [204]
    assert addresses(stored) == [(ALICE_EMAIL, True)]


def test_retried_email_has_a_valid_token(alice, client, mails, monkeypatch, stored):
    def fail(*_, **__):
        raise OSError("no mail server")

    with time_machine.travel(START, tick=False) as clock:
        alice.post("/auth/email/resend")
        with monkeypatch.context() as patch:
            patch.setattr(sender, "send", fail)
            assert mails.arrived() == []
        [(attempts,)] = stored(select(OutboxMessage.attempts))
        assert attempts == 1
        clock.shift(timedelta(hours=30))
        assert verify(client, mails.token(ALICE_EMAIL)).status_code == 204


def test_newer_email_replaces_unconfirmed_one(alice, client, mails, stored):
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    first = mails.token(NEW_EMAIL)
    alice.patch("/auth/me", {"email": "newer@example.com"})
    second = mails.token("newer@example.com")
    assert pointers(verify(client, first)) == {"/token"}
    assert verify(client, second).status_code == 204
    assert addresses(stored) == [("newer@example.com", True)]


def test_confirmation_of_new_email_can_be_resent(alice, client, mails, stored):
    verify(client, mails.token(ALICE_EMAIL))
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    first = mails.token(NEW_EMAIL)
    alice.post("/auth/email/resend")
    second = mails.token(NEW_EMAIL)
    assert pointers(verify(client, first)) == {"/token"}
    assert verify(client, second).status_code == 204
    assert addresses(stored) == [(NEW_EMAIL, True)]


def set_password(alice, mails):
    alice.put("/auth/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD})


def reset_password(alice, mails):
    mails.arrived()
    alice.client.post("/api/v1/auth/password/forgot", json={"email": ALICE_EMAIL})
    proof = {"token": mails.token(ALICE_EMAIL), "new_password": NEW_PASSWORD}
    assert alice.client.post("/api/v1/auth/password/reset", json=proof).status_code == 204


@pytest.mark.parametrize("change", [set_password, reset_password])
def test_password_change_cancels_email_change(alice, client, mails, stored, change):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    token = mails.token(NEW_EMAIL)
    change(alice, mails)
    assert pointers(verify(client, token)) == {"/token"}
    assert [email for email, _ in addresses(stored)] == [ALICE_EMAIL]
    assert stored(select(EmailToken.id).where(EmailToken.purpose == "change_email")) == []


def test_canceled_email_change_sends_no_confirmation(alice, mails):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    set_password(alice, mails)
    assert recipients_and_subjects(mails.arrived()) == {
        (ALICE_EMAIL, "Your address is to change"),
        (ALICE_EMAIL, "Your password was changed"),
    }


def test_email_taken_before_confirmation_is_a_conflict(alice, accounts, client, mails, stored):
    mails.arrived()
    alice.patch("/auth/me", {"email": "new@example.com"})
    token = mails.token(NEW_EMAIL)
    accounts.make("new")
    before = addresses(stored)
    assert_problem(verify(client, token), 409, "conflict", field="email")
    assert addresses(stored) == before
    assert ALICE_EMAIL not in {email.to for email in mails.arrived()}


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@Example.COM"])
def test_email_of_another_user_is_a_conflict(alice, bob, mails, stored, email):
    mails.arrived()
    assert_problem(alice.patch("/auth/me", {"email": email}), 409, "conflict", field="email")
    assert stored(select(OutboxMessage.id)) == []
    assert "email_change_requested" not in {row[0] for row in events(stored)}


def test_verification_token_of_former_email_is_invalid(alice, client, mails, stored):
    old = mails.token(ALICE_EMAIL)
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    verify(client, mails.token(NEW_EMAIL))
    assert pointers(verify(client, old)) == {"/token"}
    assert addresses(stored) == [(NEW_EMAIL, True)]


def test_concurrent_use_of_one_token_succeeds_once(app, alice, mails, stored):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    token = mails.token(NEW_EMAIL)
    start = Barrier(8)

    def use(_):
        client = app.test_client()
        start.wait()
        return verify(client, token).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(use, range(8))) == [204] + [422] * 7
    assert addresses(stored) == [(NEW_EMAIL, True)]
    assert len([row for row in events(stored) if row[0] == "email_changed"]) == 1


def test_concurrent_confirmation_of_one_email_succeeds_once(app, alice, bob, mails):
    tokens = []
    for account in (alice, bob):
        mails.arrived()
        account.patch("/auth/me", {"email": NEW_EMAIL})
        tokens.append(mails.token(NEW_EMAIL))
    start = Barrier(2)

    def use(token):
        client = app.test_client()
        start.wait()
        return verify(client, token).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(use, tokens)) == [204, 409]


def test_disabled_user_gets_no_token_and_cannot_verify(app, alice, client, mails, stored):
    token = mails.token(ALICE_EMAIL)
    alice.post("/auth/email/resend")
    with app.app_context():
        db.session.get_one(User, alice.id).disabled_at = START
        db.session.commit()
    assert mails.arrived() == []
    assert pointers(verify(client, token)) == {"/token"}
    assert addresses(stored) == [(ALICE_EMAIL, False)]


def test_token_of_deleted_user_is_invalid(alice, client, mails):
    token = mails.token(ALICE_EMAIL)
    alice.post("/auth/email/resend")
    alice.delete("/auth/me")
    assert mails.arrived() == []
    assert pointers(verify(client, token)) == {"/token"}


def test_personal_token_cannot_resend(alice, client, mails):
    mails.arrived()
    personal_token = alice.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    bearer = {"Authorization": f"Bearer {personal_token['token']}"}
    response = client.post("/api/v1/auth/email/resend", headers=bearer)
    assert_problem(response, 401, "wrong_token_type")
    assert mails.arrived() == []


def test_password_change_is_notified(alice, mails):
    mails.arrived()
    set_password(alice, mails)
    assert recipients_and_subjects(mails.arrived()) == {(ALICE_EMAIL, "Your password was changed")}


def test_statement_counts(alice, client, mails, statements):
    token = mails.token(ALICE_EMAIL)
    with statements() as seen:
        alice.post("/auth/email/resend")
    assert len(seen) == 6, seen
    token = mails.token(ALICE_EMAIL)
    with statements() as seen:
        assert verify(client, token).status_code == 204
    assert len(seen) == 5, seen
    alice.patch("/auth/me", {"email": NEW_EMAIL})
    token = mails.token(NEW_EMAIL)
    with statements() as seen:
        assert verify(client, token).status_code == 204
    assert len(seen) == 7, seen
