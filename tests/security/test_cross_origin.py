"""Which pages of other origins may call from a browser (the Fetch standard)."""

import pytest

from app import create_app
from app.extensions import db
from app.http.limits import HEADERS
from tests.accounts import Account
from tests.problems import assert_problem

GOOD = "https://app.example.com"
LOCAL = "http://localhost:3000"
EXPOSED = {"ETag", "Location", "Link", "Retry-After", "X-Request-ID", "Idempotent-Replayed"}
ALLOWED = {"authorization", "content-type", "if-match", "if-none-match", "idempotency-key"}


@pytest.fixture
def serving(app, settings):
    """Makes applications that pages of some origins may call."""
    made = []

    def make(origins=f"{GOOD}, {LOCAL}", **more):
        other = create_app(settings | {"CORS_ORIGINS": origins} | more)
        made.append(other)
        return other

    yield make
    for other in made:
        with other.app_context():
            db.engine.dispose()


def listed(answer, name):
    return {part.strip() for part in answer.headers.get(name, "").split(",")} - {""}


def varies_by_origin(answer):
    return "Origin" in ", ".join(answer.headers.getlist("Vary")).split(", ")


def preflight(client, origin, path="/api/v1/tasks", method="PATCH", headers="authorization"):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options(path, headers={"Origin": origin} | asked)


@pytest.mark.parametrize("origin", [GOOD, LOCAL])
def test_a_listed_origin_may_call_and_read_what_matters(alice, serving, origin):
    me = Account(serving().test_client(), alice.login)
    answer = me.post("/tasks", {"title": "New"}, headers={"Origin": origin})
    assert answer.status_code == 201
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert listed(answer, "Access-Control-Expose-Headers") >= EXPOSED | {*HEADERS}
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert varies_by_origin(answer)


def test_a_preflight_of_a_listed_origin_is_told_what_it_may_send(serving):
    wanted = ", ".join(sorted(ALLOWED | {"x-request-id", "x-evil"}))
    answer = preflight(serving().test_client(), GOOD, headers=wanted)
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == GOOD
    assert listed(answer, "Access-Control-Allow-Headers") == ALLOWED | {"x-request-id"}
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert listed(answer, "Access-Control-Allow-Methods") == methods
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    assert varies_by_origin(answer)


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
def test_h11_no_other_origin_is_told_anything(serving, origin):
    client = serving().test_client()
    headers = {"Origin": origin.partition("\n")[0] + "x" if "\n" in origin else origin}
    for answer in (preflight(client, headers["Origin"]), client.get("/", headers=headers)):
        assert not [name for name in dict(answer.headers) if name.startswith("Access-Control-")]
        assert varies_by_origin(answer)


def test_an_answer_to_no_origin_varies_by_it_too(serving):
    answer = serving().test_client().get("/api/v1/tasks")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert varies_by_origin(answer)


def test_refusals_can_be_read_too(app, serving, monkeypatch):
    app = serving(RATELIMIT_ENABLED=True, RATE_LIMIT_LOGIN="1 per minute")
    client = app.test_client()
    origin = {"Origin": GOOD}
    body = {"username": "nobody", "password": "wrong, but long"}

    def fail(*_, **__):
        raise RuntimeError

    answers = [
        client.get("/api/v1/tasks", headers=origin),
        client.get("/api/v1/nothing", headers=origin),
        client.delete("/api/v1/auth/login", headers=origin),
        client.post("/api/v1/auth/login", json=body, headers=origin),
        client.post("/api/v1/auth/login", json=body, headers=origin),
    ]
    monkeypatch.setattr("app.auth.services.register", fail)
    account = {"username": "eve", "email": "eve@example.com", "password": "another phrase"}
    answers.append(client.post("/api/v1/auth/register", json=account, headers=origin))
    assert [answer.status_code for answer in answers] == [401, 404, 405, 401, 429, 500]
    for answer in answers:
        assert_problem(answer, answer.status_code, answer.json["code"])
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [GOOD]


def test_for_all_origins_there_is_one_answer_and_never_with_credentials(serving):
    client = serving("*").test_client()
    for answer in (
        preflight(client, "https://any.example"),
        client.get("/", headers={"Origin": "x"}),
    ):
        assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert not varies_by_origin(answer)


def test_an_origin_is_no_pattern(serving):
    client = serving("http://[::1]:3000").test_client()
    told = preflight(client, "http://[::1]:3000").headers
    assert told["Access-Control-Allow-Origin"] == "http://[::1]:3000"
    for other in ("http://1:3000", "http://::3000"):
        assert "Access-Control-Allow-Origin" not in preflight(client, other).headers


def test_by_default_no_origin_is_told_anything(client):
    answer = preflight(client, GOOD)
    assert answer.status_code == 200
    assert not [name for name in dict(answer.headers) if name.startswith("Access-Control-")]
    assert not varies_by_origin(answer)
