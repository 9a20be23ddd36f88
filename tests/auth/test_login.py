"""Login with a password."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from app.auth import passwords
from app.auth.models import Session, User
from app.extensions import db
from tests.accounts import PASSWORD
from tests.problems import assert_problem, pointers

PATH = "/api/v1/auth/login"


def test_login_returns_tokens_and_user(alice, client):
    response = client.post(PATH, json={"username": "alice", "password": PASSWORD})
    assert response.status_code == 200
    body = dict(response.json)
    assert body.pop("access_token").count(".") == 2
    assert body.pop("refresh_token").count(".") == 2
    assert body.pop("user") == alice.get("/auth/me").json
    assert body == {"token_type": "Bearer", "expires_in": 900, "refresh_expires_in": 30 * 86400}
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "identifier",
    [
        {"username": "ALICE"},
        {"username": " alice "},
        {"email": "alice@example.com"},
        {"email": " Alice@EXAMPLE.com"},
    ],
)
def test_username_and_email_are_case_insensitive(alice, client, identifier):
    response = client.post(PATH, json=identifier | {"password": PASSWORD})
    assert response.status_code == 200
    assert response.json["user"]["id"] == alice.id


def test_email_is_compared_in_unicode_nfc(client):
    typed = "ade\u0301@example.com"
    account = {"username": "ada", "email": typed, "password": PASSWORD}
    registration = client.post("/api/v1/auth/register", json=account)
    assert registration.json["email"] == "ad\u00e9@example.com"
    for email in (typed, registration.json["email"], "AD\u00c9@example.com"):
        response = client.post(PATH, json={"email": email, "password": PASSWORD})
        assert response.status_code == 200
        assert response.json["user"] == registration.json


@pytest.mark.parametrize(
    "payload",
    [
        {"username": "alice", "email": "alice@example.com", "password": PASSWORD},
        {"password": PASSWORD},
        {"username": None, "password": PASSWORD},
        {"username": {"$ne": ""}, "password": PASSWORD},
    ],
)
def test_exactly_one_of_username_and_email_is_required(alice, client, stored, payload):
    assert pointers(client.post(PATH, json=payload)) == {"/username"}
    assert len(stored(select(Session.id))) == 1


@pytest.mark.parametrize("password", ["", None, 7, ["x"], "x" * 129, "x" * 100_000])
def test_invalid_password_is_a_validation_error(client, password):
    response = client.post(PATH, json={"username": "alice", "password": password})
    assert pointers(response) == {"/password"}


def test_password_is_compared_in_unicode_nfkc(accounts, client):
    accounts.make("ada", password="Zu\u0308rich \ufb01ve ①")
    for typed in ("Z\u00fcrich five 1", "Zu\u0308rich \ufb01ve ①"):
        response = client.post(PATH, json={"username": "ada", "password": typed})
        assert (response.status_code, response.json["user"]["username"]) == (200, "ada")


@pytest.mark.parametrize(
    ("user_agent", "stored_user_agent"),
    [("curl/8", "curl/8"), ("x" * 300, "x" * 255), ("", None), ("a\tb\x7f", "ab")],
)
def test_session_stores_ip_address_and_user_agent(
    alice, client, stored, user_agent, stored_user_agent
):
    moment = datetime(2030, 1, 31, 9, tzinfo=UTC)
    with time_machine.travel(moment, tick=False):
        client.post(
            PATH,
            json={"username": "alice", "password": PASSWORD},
            headers={"User-Agent": user_agent},
            environ_overrides={"REMOTE_ADDR": "2001:db8::7"},
        )
    [row] = stored(
        select(
            Session.user_id,
            Session.ip_address,
            Session.user_agent,
            Session.created_at,
            Session.last_used_at,
            Session.expires_at,
        ).where(Session.created_at == moment)
    )
    ends = moment + timedelta(days=90)
    assert row == (alice.id, "2001:db8::7", stored_user_agent, moment, moment, ends)


def test_email_domain_matches_in_unicode_and_punycode(client, stored):
    account = {"username": "ade", "email": "ade@münchen.de", "password": PASSWORD}
    client.post("/api/v1/auth/register", json=account)
    for spelling in ("ade@münchen.de", "ADE@xn--mnchen-3ya.de"):
        credentials = {"email": spelling, "password": PASSWORD}
        response = client.post("/api/v1/auth/login", json=credentials)
        assert response.json["user"]["username"] == "ade"


def test_login_fails_if_password_changes_during_verification(app, alice, stored, monkeypatch):
    verify = passwords.verify

    def change_password_after_verifying(password, password_hash):
        matches = verify(password, password_hash)
        with ThreadPoolExecutor(1) as pool:  # a thread has its own application context
            pool.submit(set_hash, app, alice.id, "another").result()
        return matches

    monkeypatch.setattr(passwords, "verify", change_password_after_verifying)
    credentials = {"username": "alice", "password": PASSWORD}
    response = app.test_client().post("/api/v1/auth/login", json=credentials)
    assert_problem(response, 401, "invalid_credentials")
    assert len(stored(select(Session.id))) == 1


def set_hash(app, user_id, password_hash):
    with app.app_context():
        db.session.get_one(User, user_id).password_hash = password_hash
        db.session.commit()
