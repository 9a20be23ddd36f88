"""CORS: which origins may call the API from a browser (the Fetch standard)."""

import pytest

from app import create_app
from app.extensions import db
from app.rate_limiter import HEADERS
from tests.accounts import Account
from tests.problems import assert_problem

LISTED = "https://app.example.com"
LOCAL = "http://localhost:3000"
EXPOSED = {"ETag", "Location", "Link", "Retry-After", "X-Request-ID", "Idempotent-Replayed"}
ALLOWED = {"authorization", "content-type", "if-match", "if-none-match", "idempotency-key"}


@pytest.fixture
def app_with_origins(app, settings):
    """Create applications that allow some origins."""
    apps = []

    def create(origins=f"{LISTED}, {LOCAL}", **more):
        cors_app = create_app(settings | {"CORS_ORIGINS": origins} | more)
        apps.append(cors_app)
        return cors_app

    yield create
    for cors_app in apps:
        with cors_app.app_context():
            db.engine.dispose()


def listed(response, name):
    return {part.strip() for part in response.headers.get(name, "").split(",")} - {""}


def varies_by_origin(response):
    return "Origin" in ", ".join(response.headers.getlist("Vary")).split(", ")


def preflight(client, origin, path="/api/v1/tasks", method="PATCH", headers="authorization"):
    requested = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    return client.options(path, headers={"Origin": origin} | requested)


APP_ORIGINS = (
    "capacitor://localhost",
    "tauri://localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
)


@pytest.mark.parametrize("origin", APP_ORIGINS)
def test_origin_of_an_app_or_extension_may_be_listed(app_with_origins, origin):
    client = app_with_origins(", ".join(APP_ORIGINS)).test_client()
    response = preflight(client, origin)
    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    other = preflight(client, origin.replace("://", "x://"))
    assert "Access-Control-Allow-Origin" not in other.headers


def test_preflight_allows_the_headers_of_traces(app_with_origins):
    names = "authorization, traceparent, tracestate, x-request-id, x-other"
    response = preflight(app_with_origins().test_client(), LISTED, headers=names)
    assert listed(response, "Access-Control-Allow-Headers") == {
        "authorization", "traceparent", "tracestate", "x-request-id",
    }  # fmt: skip


def test_allowed_headers_are_a_setting(app_with_origins):
    client = app_with_origins(CORS_ALLOW_HEADERS="Authorization, X-Other").test_client()
    response = preflight(client, LISTED, headers="authorization, x-other, traceparent")
    assert listed(response, "Access-Control-Allow-Headers") == {"authorization", "x-other"}


@pytest.mark.parametrize("origin", [LISTED, LOCAL])
def test_listed_origin_may_call_and_read_headers(alice, app_with_origins, origin):
    me = Account(app_with_origins().test_client(), alice.login)
    response = me.post("/tasks", {"title": "New"}, headers={"Origin": origin})
    assert response.status_code == 201
    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert listed(response, "Access-Control-Expose-Headers") >= EXPOSED | {*HEADERS}
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert varies_by_origin(response)


def test_preflight_of_a_listed_origin_lists_methods_and_headers(app_with_origins):
    requested = ", ".join(sorted(ALLOWED | {"x-request-id", "x-evil"}))
    response = preflight(app_with_origins().test_client(), LISTED, headers=requested)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == LISTED
    assert listed(response, "Access-Control-Allow-Headers") == ALLOWED | {"x-request-id"}
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert listed(response, "Access-Control-Allow-Methods") == methods
    assert response.headers["Access-Control-Max-Age"] == "7200"
    assert varies_by_origin(response)


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com.evil.com",
        "https://app.example.comevil.com",
        "https://app.example.com:444",
        "https://evil.com/https://app.example.com",
        "https://appxexample.com",
        "https://evil-app.example.com",
        "https://sub.app.example.com",
        "http://app.example.com",
        "https://app.example.com\nx",
        "http://localhost:30000",
        "http://localhost",
        "null",
        "*",
        "",
    ],
)
def test_h11_other_origins_get_no_cors_headers(app_with_origins, origin):
    client = app_with_origins().test_client()
    headers = {"Origin": origin.partition("\n")[0] + "x" if "\n" in origin else origin}
    for response in (preflight(client, headers["Origin"]), client.get("/", headers=headers)):
        assert not [name for name in dict(response.headers) if name.startswith("Access-Control-")]
        assert varies_by_origin(response)


def test_response_without_origin_varies_by_origin(app_with_origins):
    response = app_with_origins().test_client().get("/api/v1/tasks")
    assert "Access-Control-Allow-Origin" not in response.headers
    assert varies_by_origin(response)


def test_error_responses_have_cors_headers(app, app_with_origins, monkeypatch):
    app = app_with_origins(RATELIMIT_ENABLED=True, RATE_LIMIT_LOGIN="1 per minute")
    client = app.test_client()
    origin = {"Origin": LISTED}
    body = {"username": "nobody", "password": "wrong, but long"}

    def fail(*_, **__):
        raise RuntimeError

    responses = [
        client.get("/api/v1/tasks", headers=origin),
        client.get("/api/v1/nothing", headers=origin),
        client.delete("/api/v1/auth/login", headers=origin),
        client.post("/api/v1/auth/login", json=body, headers=origin),
        client.post("/api/v1/auth/login", json=body, headers=origin),
    ]
    monkeypatch.setattr("app.auth.services.account.register", fail)
    account = {"username": "eve", "email": "eve@example.com", "password": "another phrase"}
    responses.append(client.post("/api/v1/auth/register", json=account, headers=origin))
    assert [response.status_code for response in responses] == [401, 404, 405, 401, 429, 500]
    for response in responses:
        assert_problem(response, response.status_code, response.json["code"])
        assert response.headers.getlist("Access-Control-Allow-Origin") == [LISTED]


def test_wildcard_is_never_combined_with_credentials(app_with_origins):
    client = app_with_origins("*").test_client()
    for response in (
        preflight(client, "https://any.example"),
        client.get("/", headers={"Origin": "x"}),
    ):
        assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert not varies_by_origin(response)


def test_origin_is_not_a_regular_expression(app_with_origins):
    client = app_with_origins("http://[::1]:3000").test_client()
    headers = preflight(client, "http://[::1]:3000").headers
    assert headers["Access-Control-Allow-Origin"] == "http://[::1]:3000"
    for other in ("http://1:3000", "http://::3000"):
        assert "Access-Control-Allow-Origin" not in preflight(client, other).headers


def test_cors_is_off_by_default(client):
    response = preflight(client, LISTED)
    assert response.status_code == 200
    assert not [name for name in dict(response.headers) if name.startswith("Access-Control-")]
    assert not varies_by_origin(response)
