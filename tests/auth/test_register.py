"""Opening an account."""

import pytest
from sqlalchemy import select

from app.auth.models import User
from tests.accounts import PASSWORD
from tests.problems import pointers

PATH = "/api/v1/auth/register"
ADA = {"username": "Ada", "email": "Ada@Example.com", "password": PASSWORD}


def test_a_new_account_is_answered_whole_and_without_its_password(client, stored):
    answer = client.post(PATH, json=ADA | {"time_zone": "Europe/Zurich"})
    assert answer.status_code == 201
    body = dict(answer.json)
    [(user_id, created_at)] = stored(select(User.id, User.created_at))
    moment = created_at.isoformat().replace("+00:00", "Z")
    assert body == {
        "id": user_id,
        "username": "Ada",
        "email": "Ada@example.com",
        "email_verified": False,
        "role": "user",
        "time_zone": "Europe/Zurich",
        "notify_on_create": False,
        "notify_when_due": True,
        "created_at": moment,
        "updated_at": moment,
    }
    assert answer.headers["Location"].endswith("/api/v1/auth/me")


def test_the_password_is_stored_as_an_argon2id_hash_only(client, stored):
    client.post(PATH, json=ADA)
    [(password_hash,)] = stored(select(User.password_hash))
    assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in password_hash


def test_the_zone_is_utc_when_left_out_and_the_address_is_trimmed(client, stored):
    answer = client.post(PATH, json=ADA | {"email": "  ada@example.com\n"})
    assert answer.json["time_zone"] == "UTC"
    assert stored(select(User.email, User.time_zone)) == [("ada@example.com", "UTC")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "ab"),
        ("username", "a" * 81),
        ("username", "ada lovelace"),
        ("username", "ada@example"),
        ("username", "äda"),
        ("username", "ada\u0000"),
        ("username", 7),
        ("username", None),
        ("email", "ada"),
        ("email", "ada@"),
        ("email", "ada@example.com, eve@example.com"),
        ("email", "ada@example.com\r\nBcc: eve@example.com"),
        ("email", f"{'a' * 250}@example.com"),
        ("email", ["ada@example.com"]),
        ("password", "seven77"),
        ("password", "x" * 129),
        ("password", "x" * 100_000),
        ("password", "password123"),
        ("password", "ADA@example.com"),
        ("password", 12345678),
        ("password", "\ud800" * 10),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", None),
    ],
)
def test_an_unacceptable_field_is_named_and_nothing_is_stored(client, stored, field, value):
    answer = client.post(PATH, json=ADA | {field: value})
    assert pointers(answer) == {f"/{field}"}
    assert stored(select(User.id)) == []


@pytest.mark.parametrize("field", ["id", "role", "email_verified", "created_at", "password_hash"])
def test_what_a_client_may_not_say_is_refused_by_name(client, stored, field):
    answer = client.post(PATH, json=ADA | {field: "admin"})
    assert pointers(answer) == {f"/{field}"}
    assert stored(select(User.id)) == []


def test_every_missing_field_is_named(client):
    assert pointers(client.post(PATH, json={})) == {"/username", "/email", "/password"}
