"""Opening a session."""

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


def test_a_login_answers_a_pair_of_tokens_and_the_user(alice, client):
    answer = client.post(PATH, json={"username": "alice", "password": PASSWORD})
    assert answer.status_code == 200
    body = dict(answer.json)
    assert body.pop("access_token").count(".") == 2
    assert body.pop("refresh_token").count(".") == 2
    assert body.pop("user") == alice.get("/auth/me").json
    assert body == {"token_type": "Bearer", "expires_in": 900, "refresh_expires_in": 30 * 86400}
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "named",
    [
        {"username": "ALICE"},
        {"username": " alice "},
        {"email": "alice@example.com"},
        {"email": " Alice@EXAMPLE.com"},
    ],
)
def test_a_name_or_an_address_logs_in_whatever_its_case(alice, client, named):
    answer = client.post(PATH, json=named | {"password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["user"]["id"] == alice.id


def test_an_address_logs_in_however_its_characters_were_composed(client):
    typed = "ade\u0301@example.com"
    account = {"username": "ada", "email": typed, "password": PASSWORD}
    made = client.post("/api/v1/auth/register", json=account)
    assert made.json["email"] == "ad\u00e9@example.com"
    for email in (typed, made.json["email"], "AD\u00c9@example.com"):
        answer = client.post(PATH, json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200
        assert answer.json["user"] == made.json


@pytest.mark.parametrize(
    "said",
    [
        {"username": "alice", "email": "alice@example.com", "password": PASSWORD},
        {"password": PASSWORD},
        {"username": None, "password": PASSWORD},
        {"username": {"$ne": ""}, "password": PASSWORD},
    ],
)
def test_a_login_names_one_account(alice, client, stored, said):
    assert pointers(client.post(PATH, json=said)) == {"/username"}
    assert len(stored(select(Session.id))) == 1


@pytest.mark.parametrize("password", ["", None, 7, ["x"], "x" * 129, "x" * 100_000])
def test_a_password_that_can_not_be_one_is_refused_before_hashing(client, password):
    answer = client.post(PATH, json={"username": "alice", "password": password})
    assert pointers(answer) == {"/password"}


def test_a_password_logs_in_however_its_characters_were_composed(accounts, client):
    accounts.make("ada", password="Zu\u0308rich \ufb01ve ①")
    for typed in ("Z\u00fcrich five 1", "Zu\u0308rich \ufb01ve ①"):
        answer = client.post(PATH, json={"username": "ada", "password": typed})
        assert (answer.status_code, answer.json["user"]["username"]) == (200, "ada")


@pytest.mark.parametrize(
    ("user_agent", "kept"),
    [("curl/8", "curl/8"), ("x" * 300, "x" * 255), ("", None), ("a\tb\x7f", "ab")],
)
def test_a_session_remembers_where_it_was_opened_from(alice, client, stored, user_agent, kept):
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
    assert row == (alice.id, "2001:db8::7", kept, moment, moment, ends)


def test_an_address_is_known_in_either_spelling_of_its_domain(client, stored):
    account = {"username": "ade", "email": "ade@münchen.de", "password": PASSWORD}
    client.post("/api/v1/auth/register", json=account)
    for spelling in ("ade@münchen.de", "ADE@xn--mnchen-3ya.de"):
        credentials = {"email": spelling, "password": PASSWORD}
        answer = client.post("/api/v1/auth/login", json=credentials)
        assert answer.json["user"]["username"] == "ade"


def test_a_login_that_a_change_of_password_overtakes_is_refused(app, alice, stored, monkeypatch):
    proved = passwords.verify

    def overtaken(password, password_hash):
        answer = proved(password, password_hash)
        with ThreadPoolExecutor(1) as pool:  # a context of its own
            pool.submit(set_hash, app, alice.id, "another").result()
        return answer

    monkeypatch.setattr(passwords, "verify", overtaken)
    credentials = {"username": "alice", "password": PASSWORD}
    answer = app.test_client().post("/api/v1/auth/login", json=credentials)
    assert_problem(answer, 401, "invalid_credentials")
    assert len(stored(select(Session.id))) == 1


def set_hash(app, user_id, password_hash):
    with app.app_context():
        db.session.get_one(User, user_id).password_hash = password_hash
        db.session.commit()
