"""Trusted proxies and trusted hosts."""

import pytest

from app import create_app
from app.extensions import db
from tests.accounts import PASSWORD
from tests.problems import assert_problem

LOGIN = "/api/v1/auth/login"


@pytest.fixture
def app_with(accounts, settings):
    """Create applications with other settings, on the database of the test."""
    accounts.make("alice")
    apps = []

    def create(**changes):
        created_app = create_app(settings | changes)
        apps.append(created_app)
        return created_app

    yield create
    for created_app in apps:
        with created_app.app_context():
            db.engine.dispose()


def addresses(app, **headers):
    """Log in, and return the addresses stored in the session and the audit event."""
    client = app.test_client()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    login = client.post(LOGIN, json={"username": "alice", "password": PASSWORD}, headers=headers)
    token = {"Authorization": f"Bearer {login.json['access_token']}"}
    session = client.get("/api/v1/auth/sessions", headers=token).json["data"][0]
    event = client.get("/api/v1/auth/me/audit", headers=token).json["data"][0]
    return {session["ip_address"], event["ip_address"]}


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        (0, "203.0.113.7", "127.0.0.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7", "198.51.100.1"),
        (2, "192.0.2.9, 198.51.100.1, 203.0.113.7", "198.51.100.1"),
        (2, "203.0.113.7", "127.0.0.1"),
        (1, "2001:db8::7", "2001:db8::7"),
    ],
)
def test_r2_only_trusted_proxies_set_the_address(app_with, trusted, forwarded, expected):
    app = app_with(TRUSTED_PROXIES=trusted)
    assert addresses(app, X_Forwarded_For=forwarded, X_Real_IP="192.0.2.1") == {expected}


@pytest.mark.parametrize("trusted", [0, 1])
def test_r2_other_headers_do_not_set_the_address(app_with, trusted):
    headers = {"Forwarded": "for=192.0.2.1", "X_Real_IP": "192.0.2.2", "X_Client_IP": "192.0.2.3"}
    assert addresses(app_with(TRUSTED_PROXIES=trusted), **headers) == {"127.0.0.1"}


@pytest.mark.parametrize(("trusted", "secure"), [(0, False), (1, True)])
def test_trusted_proxy_sets_the_scheme(app_with, trusted, secure):
    client = app_with(TRUSTED_PROXIES=trusted).test_client()
    response = client.get("/", headers={"X-Forwarded-Proto": "https"})
    assert ("Strict-Transport-Security" in response.headers) == secure


@pytest.mark.parametrize("trusted", [0, 1, 2])
def test_h10_proxies_do_not_change_links(app_with, trusted):
    public = "https://api.example.com/base"
    client = app_with(TRUSTED_PROXIES=trusted, PUBLIC_URL=public).test_client()
    names = ("Host", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Port")
    headers = dict.fromkeys(names, "evil.example, evil.example")
    headers |= {"Host": "evil.example", "Forwarded": "host=evil.example;proto=ftp"}
    account = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    registered = client.post("/api/v1/auth/register", json=account, headers=headers)
    assert registered.headers["Location"] == f"{public}/api/v1/auth/me"
    problem = client.get("/nothing", headers=headers)
    assert problem.json["type"] == f"{public}/problems/not_found"
    for response in (registered, problem, client.get("/", headers=headers)):
        assert "evil.example" not in f"{response.headers}{response.text}"


HOSTS = "api.example.com, .internal.example"


@pytest.mark.parametrize(
    "host", ["api.example.com", "api.example.com:8443", "a.internal.example", "internal.example"]
)
def test_trusted_host_is_served(app_with, host):
    client = app_with(TRUSTED_HOSTS=HOSTS).test_client()
    assert client.get("/ping", headers={"Host": host}).json == {"message": "pong"}


@pytest.mark.parametrize(
    "host",
    ["evil.example", "api.example.com.evil.example", "xapi.example.com", "127.0.0.1", "localhost"],
)
@pytest.mark.parametrize("path", ["/ping", "/nothing", LOGIN])
def test_untrusted_host_is_a_bad_request(app_with, host, path):
    client = app_with(TRUSTED_HOSTS=HOSTS).test_client()
    assert_problem(client.get(path, headers={"Host": host}), 400, "bad_request")


def test_forwarded_host_is_ignored(app_with):
    client = app_with(TRUSTED_HOSTS=HOSTS, TRUSTED_PROXIES=1).test_client()
    headers = {"Host": "evil.example", "X-Forwarded-Host": "api.example.com"}
    assert_problem(client.get("/ping", headers=headers), 400, "bad_request")


def test_any_host_is_served_by_default(client):
    assert client.get("/ping", headers={"Host": "any.example"}).json == {"message": "pong"}
