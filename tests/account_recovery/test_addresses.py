"""Addresses: proved by a token that is mailed to them, changed once the new one is proved."""

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
from tests.mailbox import TOKEN, told
from tests.problems import assert_problem, pointers

START = datetime(2040, 1, 31, 9, tzinfo=UTC)
HERS, NEW = "alice@example.com", "new@example.com"
VERIFY = "/api/v1/auth/email/verify"
MOVE = "a phrase of her own"


def verify(client, token):
    return client.post(VERIFY, json={"token": token})


def addresses(stored):
    return stored(select(User.email, User.email_verified).order_by(User.id))


def events(stored):
    """The events on addresses, and what is said of each."""
    columns = (AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)
    found = stored(select(*columns).order_by(AuditEvent.id))
    return [row for row in found if row[0].startswith("email")]


def test_a_new_account_is_mailed_what_proves_its_address(client, mails, stored):
    account = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    made = client.post("/api/v1/auth/register", json=account)
    assert made.json["email_verified"] is False
    answer = verify(client, mails.token("eve@example.com"))
    assert (answer.status_code, answer.data) == (204, b"")
    assert addresses(stored) == [("eve@example.com", True)]
    assert events(stored) == [("email_verified", made.json["id"], made.json["id"], {})]


def test_a_token_proves_an_address_once_and_for_a_day(alice, client, mails, stored):
    with time_machine.travel(START, tick=False) as clock:
        token = mails.token(HERS)
        clock.shift(timedelta(hours=24))
        assert pointers(verify(client, token)) == {"/token"}
        assert addresses(stored) == [(HERS, False)]
        clock.shift(timedelta(seconds=-1))
        assert verify(client, token).status_code == 204
        assert pointers(verify(client, token)) == {"/token"}


def test_a_token_is_mailed_anew_in_place_of_the_old_one(alice, client, mails):
    first = mails.token(HERS)
    answer = alice.post("/auth/email/resend")
    assert (answer.status_code, answer.data) == (202, b"")
    second = mails.token(HERS)
    assert pointers(verify(client, first)) == {"/token"}
    assert verify(client, second).status_code == 204


def test_what_is_proved_already_is_not_mailed_anew(alice, client, mails):
    verify(client, mails.token(HERS))
    assert alice.post("/auth/email/resend").status_code == 202
    assert mails.arrived() == []


def test_a_new_address_counts_once_it_is_confirmed(alice, client, mails, stored):
    verify(client, mails.token(HERS))
    before = alice.get("/auth/me").json
    answer = alice.patch("/auth/me", {"email": NEW})
    assert (answer.status_code, answer.json) == (200, before)
    assert addresses(stored) == [(HERS, True)]
    assert verify(client, mails.token(NEW)).status_code == 204
    assert addresses(stored) == [(NEW, True)]
    assert stored(select(User.email_key)) == [(NEW,)]
    assert alice.get("/auth/me").json["email"] == NEW
    own = [(alice.id, alice.id, {})] * 2
    assert events(stored)[1:] == [
        ("email_change_requested", *own[0]),
        ("email_changed", *own[1]),
    ]


def test_the_old_address_is_told_at_once_and_again_when_it_is_done(alice, client, mails):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW})
    sender = mails.arrived()
    assert told(sender) == {
        (HERS, "Your address is to change"),
        (NEW, "Confirm your new address"),
    }
    [token] = [token for letter in sender for token in TOKEN.findall(letter.text)]
    [old] = [letter for letter in sender if letter.to == HERS]
    assert token not in old.text
    assert NEW not in old.text
    verify(client, token)
    assert told(mails.arrived()) == {(HERS, "Your address was changed")}


def test_other_changes_do_not_wait_for_the_address(alice, mails):
    mails.arrived()
    answer = alice.patch("/auth/me", {"email": NEW, "username": "alicia"})
    assert (answer.json["username"], answer.json["email"]) == ("alicia", HERS)
    assert {letter.to for letter in mails.arrived()} == {HERS, NEW}


def test_a_token_is_good_and_nothing_is_locked_when_its_mail_goes_out(
    app, alice, mails, monkeypatch, stored
):
    answers = []

    def use_at_once(template, to, *, token, **_):
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(verify, app.test_client(), token).result(timeout=10)
            answers.append(answer.status_code)

    monkeypatch.setattr(sender, "send", use_at_once)
    mails.arrived()
    assert answers == [204]
    assert addresses(stored) == [(HERS, True)]


def test_a_mail_that_fails_is_sent_later_with_a_token_that_works(
    alice, client, mails, monkeypatch, stored
):
    def fail(*_, **__):
        raise OSError("no mail server")

    with time_machine.travel(START, tick=False) as clock:
        alice.post("/auth/email/resend")
        with monkeypatch.context() as broken:
            broken.setattr(sender, "send", fail)
            assert mails.arrived() == []
        [(attempts,)] = stored(select(OutboxMessage.attempts))
        assert attempts == 1
        clock.shift(timedelta(hours=30))
        assert verify(client, mails.token(HERS)).status_code == 204


def test_a_newer_address_replaces_one_that_is_not_confirmed(alice, client, mails, stored):
    alice.patch("/auth/me", {"email": NEW})
    first = mails.token(NEW)
    alice.patch("/auth/me", {"email": "newer@example.com"})
    second = mails.token("newer@example.com")
    assert pointers(verify(client, first)) == {"/token"}
    assert verify(client, second).status_code == 204
    assert addresses(stored) == [("newer@example.com", True)]


def test_what_confirms_a_new_address_is_mailed_anew_too(alice, client, mails, stored):
    verify(client, mails.token(HERS))
    alice.patch("/auth/me", {"email": NEW})
    first = mails.token(NEW)
    alice.post("/auth/email/resend")
    second = mails.token(NEW)
    assert pointers(verify(client, first)) == {"/token"}
    assert verify(client, second).status_code == 204
    assert addresses(stored) == [(NEW, True)]


def set_password(alice, mails):
    alice.put("/auth/password", {"current_password": PASSWORD, "new_password": MOVE})


def reset_password(alice, mails):
    mails.arrived()
    alice.client.post("/api/v1/auth/password/forgot", json={"email": HERS})
    proof = {"token": mails.token(HERS), "new_password": MOVE}
    assert alice.client.post("/api/v1/auth/password/reset", json=proof).status_code == 204


@pytest.mark.parametrize("change", [set_password, reset_password])
def test_a_new_password_calls_a_change_of_address_off(alice, client, mails, stored, change):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW})
    token = mails.token(NEW)
    change(alice, mails)
    assert pointers(verify(client, token)) == {"/token"}
    assert [email for email, _ in addresses(stored)] == [HERS]
    assert stored(select(EmailToken.id).where(EmailToken.purpose == "change_email")) == []


def test_a_change_that_was_called_off_before_it_was_mailed_is_not_mailed(alice, mails):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW})
    set_password(alice, mails)
    assert told(mails.arrived()) == {
        (HERS, "Your address is to change"),
        (HERS, "Your password was changed"),
    }


def test_an_address_that_was_taken_meanwhile_is_a_conflict(alice, accounts, client, mails, stored):
    mails.arrived()
    alice.patch("/auth/me", {"email": "new@example.com"})
    token = mails.token(NEW)
    accounts.make("new")
    before = addresses(stored)
    assert_problem(verify(client, token), 409, "conflict", field="email")
    assert addresses(stored) == before
    assert HERS not in {letter.to for letter in mails.arrived()}


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@Example.COM"])
def test_anothers_address_is_refused_at_once(alice, bob, mails, stored, email):
    mails.arrived()
    assert_problem(alice.patch("/auth/me", {"email": email}), 409, "conflict", field="email")
    assert stored(select(OutboxMessage.id)) == []
    assert "email_change_requested" not in {row[0] for row in events(stored)}


def test_a_token_for_an_address_that_is_no_more_the_accounts_proves_nothing(
    alice, client, mails, stored
):
    old = mails.token(HERS)
    alice.patch("/auth/me", {"email": NEW})
    verify(client, mails.token(NEW))
    assert pointers(verify(client, old)) == {"/token"}
    assert addresses(stored) == [(NEW, True)]


def test_of_8_that_use_one_token_at_once_one_succeeds(app, alice, mails, stored):
    mails.arrived()
    alice.patch("/auth/me", {"email": NEW})
    token = mails.token(NEW)
    start = Barrier(8)

    def use(_):
        client = app.test_client()
        start.wait()
        return verify(client, token).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(use, range(8))) == [204] + [422] * 7
    assert addresses(stored) == [(NEW, True)]
    assert len([row for row in events(stored) if row[0] == "email_changed"]) == 1


def test_of_two_accounts_that_confirm_one_address_at_once_one_gets_it(app, alice, bob, mails):
    tokens = []
    for account in (alice, bob):
        mails.arrived()
        account.patch("/auth/me", {"email": NEW})
        tokens.append(mails.token(NEW))
    start = Barrier(2)

    def use(token):
        client = app.test_client()
        start.wait()
        return verify(client, token).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(use, tokens)) == [204, 409]


def test_a_disabled_account_is_mailed_no_token_and_its_own_are_none(
    app, alice, client, mails, stored
):
    token = mails.token(HERS)
    alice.post("/auth/email/resend")
    with app.app_context():
        db.session.get_one(User, alice.id).disabled_at = START
        db.session.commit()
    assert mails.arrived() == []
    assert pointers(verify(client, token)) == {"/token"}
    assert addresses(stored) == [(HERS, False)]


def test_a_deleted_accounts_token_is_none(alice, client, mails):
    token = mails.token(HERS)
    alice.post("/auth/email/resend")
    alice.delete("/auth/me")
    assert mails.arrived() == []
    assert pointers(verify(client, token)) == {"/token"}


def test_a_personal_token_mails_nothing(alice, client, mails):
    mails.arrived()
    made = alice.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    bearer = {"Authorization": f"Bearer {made['token']}"}
    answer = client.post("/api/v1/auth/email/resend", headers=bearer)
    assert_problem(answer, 401, "wrong_token_type")
    assert mails.arrived() == []


def test_a_changed_password_is_told_to_the_owner(alice, mails):
    mails.arrived()
    set_password(alice, mails)
    assert told(mails.arrived()) == {(HERS, "Your password was changed")}


def test_calls_run_no_statement_too_many(alice, client, mails, statements):
    token = mails.token(HERS)
    with statements() as seen:
        alice.post("/auth/email/resend")
    assert len(seen) == 6, seen
    token = mails.token(HERS)
    with statements() as seen:
        assert verify(client, token).status_code == 204
    assert len(seen) == 5, seen
    alice.patch("/auth/me", {"email": NEW})
    token = mails.token(NEW)
    with statements() as seen:
        assert verify(client, token).status_code == 204
    assert len(seen) == 7, seen
