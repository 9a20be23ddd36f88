"""User registration."""

import pytest
from sqlalchemy import select

from app.auth.models import User
from tests.accounts import PASSWORD
from tests.problems import assert_problem, pointers

PATH = "/api/v1/auth/register"
ADA = {"username": "Ada", "email": "Ada@Example.com", "password": PASSWORD}


def test_registration_returns_the_user_without_password(client, stored):
    response = client.post(PATH, json=ADA | {"time_zone": "Europe/Zurich"})
    assert response.status_code == 201
    body = dict(response.json)
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
        "notices_active": False,
        "created_at": moment,
        "updated_at": moment,
    }
    assert response.headers["Location"].endswith("/api/v1/auth/me")


def test_password_is_stored_as_argon2id_hash(client, stored):
    client.post(PATH, json=ADA)
    [(password_hash,)] = stored(select(User.password_hash))
    assert password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in password_hash


def test_time_zone_defaults_to_utc_and_email_is_trimmed(client, stored):
    response = client.post(PATH, json=ADA | {"email": "  ada@example.com\n"})
    assert response.json["time_zone"] == "UTC"
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
def test_invalid_field_is_reported_and_nothing_is_stored(client, stored, field, value):
    response = client.post(PATH, json=ADA | {field: value})
    assert pointers(response) == {f"/{field}"}
    assert stored(select(User.id)) == []


@pytest.mark.parametrize("field", ["id", "role", "email_verified", "created_at", "password_hash"])
def test_read_only_field_is_rejected(client, stored, field):
    response = client.post(PATH, json=ADA | {field: "admin"})
    assert pointers(response) == {f"/{field}"}
    assert stored(select(User.id)) == []


def test_all_invalid_fields_are_reported_together(client):
    body = {"username": "a b", "email": "nowhere", "password": "seven77", "time_zone": "Mars"}
    response = client.post("/api/v1/auth/register", json=body)
    assert pointers(response) == {"/username", "/email", "/password", "/time_zone"}


def test_all_missing_fields_are_reported(client):
    assert pointers(client.post(PATH, json={})) == {"/username", "/email", "/password"}


@pytest.mark.parametrize(
    "email", ["ada@printer.local", "ada@host.home.arpa", "ada@site.onion", "ada@mail.invalid"]
)
def test_special_use_domain_is_rejected_unless_a_setting_allows_it(
    app, client, stored, monkeypatch, email
):
    response = client.post(PATH, json=ADA | {"email": email})
    body = assert_problem(response, 422, "validation_error")
    detail = "Must not be in a domain that is reserved for special use."
    assert body["errors"] == [{"pointer": "/email", "detail": detail}]
    assert stored(select(User.id)) == []
    monkeypatch.setitem(app.config, "EMAIL_SPECIAL_USE", True)
    assert client.post(PATH, json=ADA | {"email": email}).status_code == 201
    assert stored(select(User.email)) == [(email,)]


def test_domain_without_a_dot_needs_the_setting_too(app, client, monkeypatch):
    email = "root@localhost"
    assert pointers(client.post(PATH, json=ADA | {"email": email})) == {"/email"}
    monkeypatch.setitem(app.config, "EMAIL_SPECIAL_USE", True)
    assert client.post(PATH, json=ADA | {"email": email}).json["email"] == email


def test_email_domains_are_compared_by_their_a_labels(client, stored):
    emails = ["ada@fußball.example", "ada@fussball.example", "Ada@XN--FUBALL-CTA.example"]
    statuses = []
    for number, email in enumerate(emails):
        body = ADA | {"username": f"ada{number}", "email": email}
        statuses.append(client.post(PATH, json=body).status_code)
    assert statuses == [201, 201, 409]
    keys = [("ada@fussball.example",), ("ada@xn--fuball-cta.example",)]
    assert sorted(stored(select(User.email_key))) == keys


@pytest.mark.parametrize(
    "email", ["ADA@FUßBALL.example", "ada@xn--fuball-cta.example", " ada@fußball\u3002example"]
)
def test_user_logs_in_with_any_form_of_a_domain(client, email):
    client.post(PATH, json=ADA | {"email": "ada@fußball.example"})
    body = {"email": email, "password": PASSWORD}
    assert client.post("/api/v1/auth/login", json=body).status_code == 200
    body["email"] = "ada@fussball.example"
    assert client.post("/api/v1/auth/login", json=body).status_code == 401
