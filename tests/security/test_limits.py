"""Rate limits: R1 to R4 of the security checks, and what responses report."""

import re
import time

import pytest
import time_machine
from sqlalchemy import select

from app import create_app
from app.api.operation_meta import get_meta
from app.audit.models import AuditEvent
from app.auth.models import Scope
from app.config import SETTINGS
from app.extensions import db
from app.rate_limiter import HEADERS, RateLimit
from tests.accounts import PASSWORD, Account, Accounts
from tests.problems import assert_problem
from tests.recorders import record_statements

AUTH = "/api/v1/auth"
HIGH_LIMITS = {limit.value: "1000 per minute" for limit in RateLimit}
ROUTE_LIMITS = {
    "auth.register": RateLimit.register,
    "auth.log_in": RateLimit.login,
    "auth.refresh": RateLimit.refresh,
    "mfa.complete_login": RateLimit.login,
    "account_recovery.forgot_password": RateLimit.recovery,
    "account_recovery.reset_password": RateLimit.recovery,
    "account_recovery.verify_email": RateLimit.recovery,
    "account_recovery.resend_verification": RateLimit.recovery,
}
EXEMPT = {"/health", "/health/live", "/health/ready", "/metrics"}


@pytest.fixture
def limited(app, settings):
    """Create applications with rate limits, on the database of the test."""
    apps = []

    def create(**limits):
        limited_app = create_app(settings | HIGH_LIMITS | {"RATELIMIT_ENABLED": True} | limits)
        apps.append(limited_app)
        return limited_app

    yield create
    for limited_app in apps:
        with limited_app.app_context():
            db.engine.dispose()


def as_alice(alice, app) -> Account:
    return Account(app.test_client(), alice.login)


def log_in(app, name="nobody", *, address="10.0.0.1", headers=None, **credentials):
    body = {"username": name, "password": "wrong, but long"} | credentials
    if "email" in body:
        del body["username"]
    return app.test_client().post(
        f"{AUTH}/login",
        json=body,
        headers=headers or {},
        environ_base={"REMOTE_ADDR": address},
    )


def rate(response):
    """Return the limit, the remaining requests and the reset time that a response reports."""
    return [int(response.headers[name]) for name in HEADERS]


def assert_limited(response, limit) -> int:
    """Assert that a response is a complete 429 problem, and return its Retry-After."""
    assert_problem(response, 429, "rate_limited")
    assert response.headers["X-RateLimit-Limit"] == str(limit)
    assert response.headers["X-RateLimit-Remaining"] == "0"
    wait = response.headers["Retry-After"]
    assert re.fullmatch("[1-9][0-9]*", wait)
    assert abs(int(response.headers["X-RateLimit-Reset"]) - time.time() - int(wait)) <= 2
    return int(wait)


def outcome(response):
    """Return the problem code of an error response, or the status of a success."""
    if response.status_code < 400:
        return response.status_code
    return assert_problem(response, response.status_code, response.json["code"])["code"]


def test_every_route_and_method_is_limited(limited):
    app = limited(METRICS=True)
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<\w+:\w+>|<\w+>", "1", rule.rule)
        for method in rule.methods - {"OPTIONS"}:
            response = client.open(path, method=method)
            if path in EXEMPT:
                assert not set(HEADERS) & set(response.headers.keys())
            else:
                assert rate(response)[0] == 1000, (method, path)
    for path in ("/nowhere", "/api/v1/nowhere"):
        assert rate(client.get(path))[0] == 1000
    assert rate(client.delete("/api/v1/tasks"))[0] == 1000


def test_routes_with_limits_of_their_own(app):
    limits = {
        endpoint: get_meta(view).limit
        for endpoint, view in app.view_functions.items()
        if get_meta(view).limit
    }
    assert limits == ROUTE_LIMITS


def test_every_limit_is_a_setting():
    assert {limit.value for limit in RateLimit} <= {setting.name for setting in SETTINGS}


def test_responses_report_the_limit_until_it_is_exceeded(alice, limited):
    me = as_alice(alice, limited(RATE_LIMIT_READS="3 per minute"))
    started = time.time()
    for expected in (2, 1, 0):
        response = me.get("/auth/me")
        assert response.status_code == 200
        limit, remaining, resets_at = rate(response)
        assert (limit, remaining) == (3, expected)
        assert 59 <= resets_at - started <= 62
    wait = assert_limited(me.get("/auth/me"), 3)
    assert 58 <= wait <= 60
    assert me.call("HEAD", "/tasks").status_code == 429
    assert me.patch("/auth/me", {"time_zone": "UTC"}).status_code == 200


def test_r3_request_succeeds_after_retry_after(limited):
    app = limited(RATE_LIMIT_LOGIN="2 per minute")
    with time_machine.travel("2026-11-21T09:00:00.9Z", tick=False) as clock:
        for _ in range(2):
            assert log_in(app).status_code == 401
            clock.shift(10.25)
        wait = assert_limited(log_in(app), 2)
        clock.shift(wait - 1.01)
        assert log_in(app).status_code == 429
        clock.shift(1.01)
        assert log_in(app).status_code == 401
        # The second request is still in the window.
        assert log_in(app).status_code == 429


def test_limited_request_has_no_effect(alice, limited, stored):
    app = limited(RATE_LIMIT_LOGIN="1 per minute", RATE_LIMIT_WRITES="1 per minute")
    me = as_alice(alice, app)
    assert me.post("/tasks", {"title": "First"}).status_code == 201
    assert_limited(me.post("/tasks", {"title": "Second"}), 1)
    assert [task["title"] for task in me.get("/tasks").json["data"]] == ["First"]
    before = stored(select(AuditEvent.id))
    assert [log_in(app).status_code for _ in range(2)] == [401, 429]
    assert len(stored(select(AuditEvent.id))) == len(before) + 1


def test_users_at_one_address_have_separate_limits(alice, bob, limited):
    app = limited(RATE_LIMIT_READS="2 per minute")
    for account in (as_alice(alice, app), as_alice(bob, app)):
        responses = [account.get("/auth/me") for _ in range(3)]
        assert [response.json.get("id") for response in responses] == [account.id, account.id, None]
        assert_limited(responses[-1], 2)
    assert outcome(app.test_client().get(f"{AUTH}/me")) == "authentication_required"


def test_user_has_one_limit_for_all_tokens_and_addresses(alice, accounts, limited):
    app = limited(RATE_LIMIT_READS="3 per minute")
    new_token = {"name": "script", "scopes": [Scope.account_read]}
    personal = alice.post("/auth/tokens", new_token).json["token"]
    tokens = [alice.access_token, accounts.log_in("alice").access_token, personal]
    client = app.test_client()

    def read(token, address):
        headers = {"Authorization": f"Bearer {token}"}
        base = {"REMOTE_ADDR": address}
        return client.get(f"{AUTH}/me", headers=headers, environ_base=base)

    responses = [read(token, f"10.0.0.{n}") for n, token in enumerate(tokens)]
    assert [response.json["id"] for response in responses] == [alice.id] * 3
    for n, token in enumerate(tokens):
        assert_limited(read(token, f"10.1.0.{n}"), 3)


def invalid_tokens(alice, n):
    """Return invalid tokens, different ones for each ``n``."""
    head, payload, signature = alice.access_token.split(".")
    return [f"tap_{n:043}", f"{head}.{payload}.{signature[:-6]}{n:06}", f"x.y.{n}", "", "a b"]


def test_invalid_tokens_count_for_the_address(alice, limited):
    app = limited(RATE_LIMIT_READS="10 per minute")
    client = app.test_client()
    responses = [
        client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {token}"})
        for n in range(3)
        for token in invalid_tokens(alice, n)
    ]
    assert [response.status_code for response in responses] == [401] * 10 + [429] * 5
    assert [rate(response)[1] for response in responses] == [*range(9, -1, -1), *[0] * 5]
    assert_limited(responses[-1], 10)
    # A valid token at the same address is not affected.
    assert rate(as_alice(alice, app).get("/auth/me"))[:2] == [10, 9]


def test_revoked_tokens_count_for_the_address(alice, accounts, limited):
    app = limited(RATE_LIMIT_READS="2 per minute")
    other = accounts.log_in("alice")
    other.post("/auth/logout")
    logged_out = as_alice(other, app)
    responses = [outcome(logged_out.get("/auth/me")) for _ in range(3)]
    assert responses == ["token_revoked", "token_revoked", "rate_limited"]
    assert as_alice(alice, app).get("/auth/me").json["id"] == alice.id


def test_reads_writes_and_logins_have_separate_limits(alice, limited):
    app = limited(RATE_LIMIT_READS="1 per minute", RATE_LIMIT_WRITES="1 per minute")
    me = as_alice(alice, app)
    assert me.get("/tasks").status_code == 200
    assert me.post("/tasks", {"title": "New"}).status_code == 201
    assert_limited(me.get("/tasks"), 1)
    assert_limited(me.post("/tasks", {"title": "Newer"}), 1)
    assert outcome(log_in(app)) == "invalid_credentials"
    assert [task["title"] for task in alice.get("/tasks").json["data"]] == ["New"]


def test_unknown_routes_and_methods_are_limited(limited):
    client = limited(
        RATE_LIMIT_READS="2 per minute", RATE_LIMIT_WRITES="2 per minute"
    ).test_client()
    for method, path, code in (
        ("GET", "/nowhere", "not_found"),
        ("DELETE", f"{AUTH}/login", "method_not_allowed"),
    ):
        responses = [client.open(path, method=method) for _ in range(3)]
        assert [outcome(response) for response in responses] == [code, code, "rate_limited"]
        assert_limited(responses[-1], 2)


def test_preflight_requests_are_exempt(limited):
    app = limited(RATE_LIMIT_LOGIN="1 per minute", RATE_LIMIT_WRITES="1 per minute")
    responses = [app.test_client().options(f"{AUTH}/login") for _ in range(3)]
    assert [response.status_code for response in responses] == [200] * 3
    assert not any(set(HEADERS) & set(response.headers.keys()) for response in responses)
    response = log_in(app)
    assert (outcome(response), rate(response)[:2]) == ("invalid_credentials", [1, 0])
    assert_limited(log_in(app), 1)


@pytest.mark.parametrize(
    ("path", "body", "limit", "expected"),
    [
        (
            "/login",
            {"username": "nobody", "password": "x" * 8},
            RateLimit.login,
            "invalid_credentials",
        ),
        (
            "/login/second-factor",
            {"challenge": "x", "code": "000000"},
            RateLimit.login,
            "invalid_credentials",
        ),
        (
            "/register",
            # Only the service finds that the password is the username.
            {"username": "eve.moneypenny", "email": "e@example.com", "password": "eve.moneypenny"},
            RateLimit.register,
            "validation_error",
        ),
        ("/refresh", None, RateLimit.refresh, "authentication_required"),
        ("/password/forgot", {"email": "nobody@example.com"}, RateLimit.recovery, 202),
        (
            "/password/reset",
            {"token": "x", "new_password": "another phrase"},
            RateLimit.recovery,
            "validation_error",
        ),
        ("/email/verify", {"token": "x"}, RateLimit.recovery, "validation_error"),
        ("/email/resend", None, RateLimit.recovery, "authentication_required"),
    ],
)
def test_sensitive_routes_are_limited_per_address(limited, path, body, limit, expected):
    client = limited(**{limit.value: "2 per minute"}).test_client()

    def call(address):
        return client.post(AUTH + path, json=body, environ_base={"REMOTE_ADDR": address})

    for address, remaining in (("10.0.0.1", 1), ("10.0.0.1", 0), ("10.0.0.2", 1)):
        response = call(address)
        assert (outcome(response), rate(response)[:2]) == (expected, [2, remaining])
    assert_limited(call("10.0.0.1"), 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "alice"},
        {"username": "alice", "password": 1},
        {"username": "alice", "password": "guess number 1", "remember": True},
        ["alice"],
    ],
)
def test_login_that_fails_validation_is_no_attempt(alice, limited, body):
    once = dict.fromkeys((RateLimit.login, RateLimit.login_account), "1 per minute")
    client = limited(**once).test_client()
    for _ in range(3):
        response = client.post(f"{AUTH}/login", json=body)
        assert (outcome(response), rate(response)[0]) == ("validation_error", 1000)
    credentials = {"username": "alice", "password": PASSWORD}
    assert client.post(f"{AUTH}/login", json=credentials).status_code == 200
    assert_limited(client.post(f"{AUTH}/login", json=credentials), 1)


def test_invalid_login_counts_as_a_write(limited):
    client = limited(RATE_LIMIT_WRITES="2 per minute").test_client()
    responses = [client.post(f"{AUTH}/login", json={}) for _ in range(3)]
    assert [outcome(response) for response in responses[:2]] == ["validation_error"] * 2
    assert_limited(responses[2], 2)


FORWARDED_HEADERS = [
    {"X-Forwarded-For": "203.0.113.{n}"},
    {"Forwarded": "for=203.0.113.{n}"},
    {"X-Real-IP": "203.0.113.{n}"},
    {"X-Forwarded-For": "203.0.113.{n}, 10.0.0.{n}", "X-Real-IP": "10.9.0.{n}"},
]


@pytest.mark.parametrize("headers", FORWARDED_HEADERS)
def test_r2_forwarded_headers_do_not_change_the_address(limited, headers):
    app = limited(RATE_LIMIT_LOGIN="5 per minute")
    responses = [
        outcome(log_in(app, headers={name: text.format(n=n) for name, text in headers.items()}))
        for n in range(7)
    ]
    assert responses == ["invalid_credentials"] * 5 + ["rate_limited"] * 2


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("", "not an address", True),
    ],
)
def test_ipv6_network_counts_as_one_address(limited, one, other, shared):
    app = limited(RATE_LIMIT_LOGIN="1 per minute")
    assert outcome(log_in(app, address=one)) == "invalid_credentials"
    response = log_in(app, address=other)
    if shared:
        assert_limited(response, 1)
    else:
        assert (outcome(response), rate(response)[:2]) == ("invalid_credentials", [1, 0])


def test_r4_logins_to_an_account_are_limited_across_addresses(alice, limited):
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="10 per 15 minutes")
    statuses = [log_in(app, "alice", address=f"10.0.0.{n}").status_code for n in range(11)]
    assert statuses == [401] * 10 + [429]
    wait = assert_limited(log_in(app, "alice", address="10.0.1.1"), 10)
    assert 14 * 60 <= wait <= 15 * 60
    # The right password is rejected too, other accounts are not affected.
    assert log_in(app, "alice", address="10.0.1.2", password=PASSWORD).status_code == 429
    assert log_in(app, "bob", address="10.0.1.2").status_code == 401


@pytest.mark.parametrize("known", [True, False])
def test_spellings_of_a_name_share_a_limit(accounts, limited, known):
    if known:
        accounts.make("alice")
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="3 per 15 minutes")
    names = ["alice", "ALICE", "aLiCe", "alice"]
    responses = [log_in(app, name, address=f"10.0.0.{n}") for n, name in enumerate(names)]
    assert [response.status_code for response in responses] == [401, 401, 401, 429]
    assert rate(responses[0])[0] == 1000


def test_username_and_email_share_a_limit(alice, limited):
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="2 per 15 minutes")
    assert outcome(log_in(app, "alice")) == "invalid_credentials"
    assert outcome(log_in(app, email="Alice@example.com")) == "invalid_credentials"
    assert_limited(log_in(app, "alice"), 2)
    assert_limited(log_in(app, email="alice@example.com"), 2)


def test_name_that_looks_like_a_key_has_its_own_limit(alice, limited):
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="1 per 15 minutes")
    for name in (str(alice.id), f"user {alice.id}", f"user-{alice.id}"):
        assert outcome(log_in(app, name)) == "invalid_credentials"
    assert outcome(log_in(app, "alice")) == "invalid_credentials"
    assert_limited(log_in(app, "alice"), 1)


def test_r4_failed_logins_do_not_affect_open_sessions(alice, limited):
    app = limited(
        **dict.fromkeys((RateLimit.login_account, RateLimit.refresh_account), "2 per 15 minutes")
    )
    for n in range(4):
        log_in(app, "alice", address=f"10.0.0.{n}")
    assert_limited(log_in(app, "alice", address="10.0.1.1", password=PASSWORD), 2)
    me = as_alice(alice, app)
    assert me.get("/tasks").json["data"] == []
    assert me.post("/auth/reauthenticate", {"password": PASSWORD}).status_code == 200
    refresh = {"Authorization": f"Bearer {me.refresh_token}"}
    renewed = app.test_client().post(f"{AUTH}/refresh", headers=refresh)
    assert renewed.status_code == 200
    me.access_token = renewed.json["access_token"]
    assert me.get("/auth/me").json["id"] == alice.id


def test_revoked_refresh_token_does_not_count_for_the_account(alice, accounts, limited):
    app = limited(RATE_LIMIT_REFRESH_ACCOUNT="1 per 15 minutes")
    ended = accounts.log_in("alice")
    ended.post("/auth/logout")
    client = app.test_client()

    def refresh(token):
        headers = {"Authorization": f"Bearer {token}"}
        return client.post(f"{AUTH}/refresh", headers=headers)

    assert [refresh(ended.refresh_token).status_code for _ in range(3)] == [401] * 3
    renewed = refresh(alice.refresh_token)
    assert renewed.status_code == 200
    assert_limited(refresh(renewed.json["refresh_token"]), 1)


@pytest.mark.parametrize("path", ["/reauthenticate", "/password"])
def test_stolen_token_cannot_guess_the_password(alice, limited, path):
    me = as_alice(alice, limited(RATE_LIMIT_LOGIN_ACCOUNT="2 per 15 minutes"))

    def guess(word):
        if path == "/reauthenticate":
            return me.post("/auth/reauthenticate", {"password": word})
        change = {"current_password": word, "new_password": "another phrase"}
        return me.put("/auth/password", change)

    assert [guess(f"guess {n}").status_code for n in range(2)] == [401, 401]
    assert_limited(guess(PASSWORD), 2)
    assert me.get("/auth/me").status_code == 200


@pytest.mark.parametrize(
    ("path", "limit", "bodies"),
    [
        (
            "/register",
            RateLimit.register_account,
            [
                {"username": f"eve{n}", "email": "Eve@ex.com", "password": PASSWORD}
                for n in range(3)
            ],
        ),
        ("/password/forgot", RateLimit.recovery_account, [{"email": "eve@ex.com"}] * 3),
    ],
)
def test_registration_and_recovery_are_limited_per_email_address(limited, path, limit, bodies):
    app = limited(**{limit.value: "2 per 15 minutes"})
    responses = [
        app.test_client().post(AUTH + path, json=body, environ_base={"REMOTE_ADDR": f"10.0.0.{n}"})
        for n, body in enumerate(bodies)
    ]
    assert responses[0].status_code in {201, 202}
    assert_limited(responses[-1], 2)


def test_all_rates_of_a_limit_apply(limited):
    app = limited(RATE_LIMIT_LOGIN="2 per second; 3 per minute")
    with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
        assert [outcome(log_in(app)) for _ in range(2)] == ["invalid_credentials"] * 2
        assert_limited(log_in(app), 2)
        clock.shift(2)
        response = log_in(app)
        assert (outcome(response), rate(response)[:2]) == ("invalid_credentials", [3, 0])
        assert_limited(log_in(app), 3)


def test_limits_need_no_queries(alice, limited, statements):
    app = limited()
    me = as_alice(alice, app)
    with statements() as unlimited_statements:
        alice.get("/auth/me")
        log_in(alice.client.application, "alice")
    with record_statements(app) as limited_statements:
        me.get("/auth/me")
        log_in(app, "alice")
    assert limited_statements == unlimited_statements


def test_limits_can_be_disabled(app, client):
    assert "rate_limiter" not in app.extensions
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None]]
    assert not [hook for hook in hooks if hook.__module__ == "app.api.rate_limits"]
    responses = [log_in(app, "nobody") for _ in range(12)]
    assert {response.status_code for response in responses} == {401}
    assert not set(HEADERS) & set(responses[0].headers.keys())


def test_keys_contain_no_personal_data(limited):
    app = limited()
    accounts = Accounts(app)
    accounts.make("eve")
    log_in(app, "somebody", email="somebody@example.com")
    counters, _ = app.extensions["rate_limiter"]
    keys = " ".join(counters.memory.storage.events)
    assert "user" in keys
    assert not re.search("eve|somebody|example", keys)
