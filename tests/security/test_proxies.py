"""Whom to believe about where a request came from, and which hosts it may name."""

import pytest

from app import create_app
from app.extensions import db
from tests.accounts import PASSWORD
from tests.problems import assert_problem

LOGIN = "/api/v1/auth/login"


@pytest.fixture
def behind(accounts, settings):
    """Makes applications with other settings, on the database of the test."""
    accounts.make("alice")
    made = []

    def make(**more):
        other = create_app(settings | more)
        made.append(other)
        return other

    yield make
    for other in made:
        with other.app_context():
            db.engine.dispose()


def addresses(app, **headers):
    """Log in, and return what is kept of the address: in the session, and in the record."""
    client = app.test_client()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    login = client.post(LOGIN, json={"username": "alice", "password": PASSWORD}, headers=told)
    token = {"Authorization": f"Bearer {login.json['access_token']}"}
    session = client.get("/api/v1/auth/sessions", headers=token).json["data"][0]
    event = client.get("/api/v1/auth/me/audit", headers=token).json["data"][0]
    return {session["ip_address"], event["ip_address"]}


@pytest.mark.parametrize(
    ("trusted", "forwarded", "believed"),
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
def test_r2_as_many_proxies_are_believed_as_are_trusted(behind, trusted, forwarded, believed):
    app = behind(TRUSTED_PROXIES=trusted)
    assert addresses(app, X_Forwarded_For=forwarded, X_Real_IP="192.0.2.1") == {believed}


@pytest.mark.parametrize("trusted", [0, 1])
def test_r2_nothing_else_tells_an_address(behind, trusted):
    told = {"Forwarded": "for=192.0.2.1", "X_Real_IP": "192.0.2.2", "X_Client_IP": "192.0.2.3"}
    assert addresses(behind(TRUSTED_PROXIES=trusted), **told) == {"127.0.0.1"}


@pytest.mark.parametrize(("trusted", "secure"), [(0, False), (1, True)])
def test_a_proxy_that_is_trusted_tells_the_scheme(behind, trusted, secure):
    client = behind(TRUSTED_PROXIES=trusted).test_client()
    answer = client.get("/", headers={"X-Forwarded-Proto": "https"})
    assert ("Strict-Transport-Security" in answer.headers) == secure


@pytest.mark.parametrize("trusted", [0, 1, 2])
def test_h10_no_proxy_tells_what_links_start_with(behind, trusted):
    public = "https://api.example.com/base"
    client = behind(TRUSTED_PROXIES=trusted, PUBLIC_URL=public).test_client()
    names = ("Host", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Forwarded-Port")
    headers = dict.fromkeys(names, "evil.example, evil.example")
    headers |= {"Host": "evil.example", "Forwarded": "host=evil.example;proto=ftp"}
    account = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    made = client.post("/api/v1/auth/register", json=account, headers=headers)
    assert made.headers["Location"] == f"{public}/api/v1/auth/me"
    problem = client.get("/nothing", headers=headers)
    assert problem.json["type"] == f"{public}/problems/not_found"
    for answer in (made, problem, client.get("/", headers=headers)):
        assert "evil.example" not in f"{answer.headers}{answer.text}"


HOSTS = "api.example.com, .internal.example"


@pytest.mark.parametrize(
    "host", ["api.example.com", "api.example.com:8443", "a.internal.example", "internal.example"]
)
def test_a_trusted_host_is_served(behind, host):
    client = behind(TRUSTED_HOSTS=HOSTS).test_client()
    assert client.get("/ping", headers={"Host": host}).json == {"message": "pong"}


@pytest.mark.parametrize(
    "host",
    ["evil.example", "api.example.com.evil.example", "xapi.example.com", "127.0.0.1", "localhost"],
)
@pytest.mark.parametrize("path", ["/ping", "/nothing", LOGIN])
def test_any_other_host_is_a_bad_request(behind, host, path):
    client = behind(TRUSTED_HOSTS=HOSTS).test_client()
    assert_problem(client.get(path, headers={"Host": host}), 400, "bad_request")


def test_a_host_that_a_proxy_tells_is_no_host(behind):
    client = behind(TRUSTED_HOSTS=HOSTS, TRUSTED_PROXIES=1).test_client()
    headers = {"Host": "evil.example", "X-Forwarded-Host": "api.example.com"}
    assert_problem(client.get("/ping", headers=headers), 400, "bad_request")


def test_by_default_any_host_is_served(client):
    assert client.get("/ping", headers={"Host": "any.example"}).json == {"message": "pong"}
