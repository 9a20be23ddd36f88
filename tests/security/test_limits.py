"""How often one may ask, who is counted for what, and what each answer tells of it."""

import re
import time

import pytest
import time_machine
from sqlalchemy import select

from app import create_app
from app.audit.models import AuditEvent
from app.auth.models import Scope
from app.config import SETTINGS
from app.extensions import db
from app.http.limits import HEADERS, Rule
from app.http.promises import promised
from tests.accounts import PASSWORD, Account, Accounts
from tests.problems import assert_problem
from tests.watching import statements_of

AUTH = "/api/v1/auth"
LOOSE = {rule.value: "1000 per minute" for rule in Rule}
STRICT = {
    "auth.register": Rule.register,
    "auth.log_in": Rule.login,
    "auth.refresh": Rule.refresh,
    "second_factor.complete_login": Rule.login,
    "recovery.ask_for_reset": Rule.recovery,
    "recovery.reset_password": Rule.recovery,
    "recovery.verify_email": Rule.recovery,
    "recovery.resend_verification": Rule.recovery,
}


@pytest.fixture
def limited(app, settings):
    """Makes applications that limit rates, on the database of the test."""
    made = []

    def make(**rates):
        other = create_app(settings | LOOSE | {"RATELIMIT_ENABLED": True} | rates)
        made.append(other)
        return other

    yield make
    for other in made:
        with other.app_context():
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


def rate(answer):
    return [int(answer.headers[name]) for name in HEADERS]


def assert_limited(answer, limit) -> int:
    """Assert that an answer is the whole refusal, and return how long it says to wait."""
    assert_problem(answer, 429, "rate_limited")
    assert answer.headers["X-RateLimit-Limit"] == str(limit)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    wait = answer.headers["Retry-After"]
    assert re.fullmatch("[1-9][0-9]*", wait)
    assert abs(int(answer.headers["X-RateLimit-Reset"]) - time.time() - int(wait)) <= 2
    return int(wait)


def told(answer):
    """What an answer says: the code of a refusal, which is a whole one, or else its status."""
    if answer.status_code < 400:
        return answer.status_code
    return assert_problem(answer, answer.status_code, answer.json["code"])["code"]


def test_every_route_and_method_is_counted(limited):
    app = limited()
    client = app.test_client()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<\w+:\w+>|<\w+>", "1", rule.rule)
        for method in rule.methods:
            answer = client.open(path, method=method)
            assert rate(answer)[0] == 1000, (method, path)
    for path in ("/nowhere", "/api/v1/nowhere"):
        assert rate(client.get(path))[0] == 1000
    assert rate(client.delete("/api/v1/tasks"))[0] == 1000


def test_the_strict_routes_are_those_that_are_named(app):
    strict = {
        endpoint: promised(view).limit
        for endpoint, view in app.view_functions.items()
        if promised(view).limit
    }
    assert strict == STRICT


def test_every_limit_is_a_setting():
    assert {rule.value for rule in Rule} <= {setting.name for setting in SETTINGS}


def test_each_answer_tells_what_is_left_and_the_one_after_the_last_is_refused(alice, limited):
    me = as_alice(alice, limited(RATE_LIMIT_READS="3 per minute"))
    first = time.time()
    for left in (2, 1, 0):
        answer = me.get("/auth/me")
        assert answer.status_code == 200
        limit, remaining, resets_at = rate(answer)
        assert (limit, remaining) == (3, left)
        assert 59 <= resets_at - first <= 62
    wait = assert_limited(me.get("/auth/me"), 3)
    assert 58 <= wait <= 60
    assert me.call("HEAD", "/tasks").status_code == 429
    assert me.patch("/auth/me", {"time_zone": "UTC"}).status_code == 200


def test_r3_after_the_wait_that_a_429_tells_a_request_is_answered(limited):
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
        # The second of them is still in its window.
        assert log_in(app).status_code == 429


def test_a_refused_request_does_nothing(alice, limited, stored):
    app = limited(RATE_LIMIT_LOGIN="1 per minute", RATE_LIMIT_WRITES="1 per minute")
    me = as_alice(alice, app)
    assert me.post("/tasks", {"title": "First"}).status_code == 201
    assert_limited(me.post("/tasks", {"title": "Second"}), 1)
    assert [task["title"] for task in me.get("/tasks").json["data"]] == ["First"]
    before = stored(select(AuditEvent.id))
    assert [log_in(app).status_code for _ in range(2)] == [401, 429]
    assert len(stored(select(AuditEvent.id))) == len(before) + 1


def test_users_behind_one_address_do_not_share_a_limit(alice, bob, limited):
    app = limited(RATE_LIMIT_READS="2 per minute")
    for account in (as_alice(alice, app), as_alice(bob, app)):
        answers = [account.get("/auth/me") for _ in range(3)]
        assert [answer.json.get("id") for answer in answers] == [account.id, account.id, None]
        assert_limited(answers[-1], 2)
    assert told(app.test_client().get(f"{AUTH}/me")) == "authentication_required"


def test_a_user_is_one_whatever_its_tokens_and_addresses(alice, accounts, limited):
    app = limited(RATE_LIMIT_READS="3 per minute")
    asked = {"name": "script", "scopes": [Scope.account_read]}
    personal = alice.post("/auth/tokens", asked).json["token"]
    tokens = [alice.access_token, accounts.log_in("alice").access_token, personal]
    client = app.test_client()

    def read(token, address):
        headers = {"Authorization": f"Bearer {token}"}
        place = {"REMOTE_ADDR": address}
        return client.get(f"{AUTH}/me", headers=headers, environ_base=place)

    answers = [read(token, f"10.0.0.{n}") for n, token in enumerate(tokens)]
    assert [answer.json["id"] for answer in answers] == [alice.id] * 3
    for n, token in enumerate(tokens):
        assert_limited(read(token, f"10.1.0.{n}"), 3)


def made_up(alice, n):
    """Tokens that prove nothing, each another."""
    head, payload, signature = alice.access_token.split(".")
    return [f"tap_{n:043}", f"{head}.{payload}.{signature[:-6]}{n:06}", f"x.y.{n}", "", "a b"]


def test_made_up_tokens_are_counted_for_the_address(alice, limited):
    app = limited(RATE_LIMIT_READS="10 per minute")
    client = app.test_client()
    answers = [
        client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {token}"})
        for n in range(3)
        for token in made_up(alice, n)
    ]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 5
    assert [rate(answer)[1] for answer in answers] == [*range(9, -1, -1), *[0] * 5]
    assert_limited(answers[-1], 10)
    # Which costs whoever has a token nothing, even there.
    assert rate(as_alice(alice, app).get("/auth/me"))[:2] == [10, 9]


def test_the_token_of_a_session_that_is_over_is_counted_for_the_address(alice, accounts, limited):
    app = limited(RATE_LIMIT_READS="2 per minute")
    other = accounts.log_in("alice")
    other.post("/auth/logout")
    left = as_alice(other, app)
    answers = [told(left.get("/auth/me")) for _ in range(3)]
    assert answers == ["token_revoked", "token_revoked", "rate_limited"]
    assert as_alice(alice, app).get("/auth/me").json["id"] == alice.id


def test_reads_writes_and_strict_routes_are_counted_apart(alice, limited):
    app = limited(RATE_LIMIT_READS="1 per minute", RATE_LIMIT_WRITES="1 per minute")
    me = as_alice(alice, app)
    assert me.get("/tasks").status_code == 200
    assert me.post("/tasks", {"title": "New"}).status_code == 201
    assert_limited(me.get("/tasks"), 1)
    assert_limited(me.post("/tasks", {"title": "Newer"}), 1)
    assert told(log_in(app)) == "invalid_credentials"
    assert [task["title"] for task in alice.get("/tasks").json["data"]] == ["New"]


def test_what_there_is_not_is_counted_too(limited):
    client = limited(
        RATE_LIMIT_READS="2 per minute", RATE_LIMIT_WRITES="2 per minute"
    ).test_client()
    for method, path, code in (
        ("GET", "/nowhere", "not_found"),
        ("DELETE", f"{AUTH}/login", "method_not_allowed"),
    ):
        answers = [client.open(path, method=method) for _ in range(3)]
        assert [told(answer) for answer in answers] == [code, code, "rate_limited"]
        assert_limited(answers[-1], 2)


def test_a_preflight_costs_no_login(limited):
    app = limited(RATE_LIMIT_LOGIN="1 per minute")
    assert [app.test_client().options(f"{AUTH}/login").status_code for _ in range(3)] == [200] * 3
    answer = log_in(app)
    assert (told(answer), rate(answer)[:2]) == ("invalid_credentials", [1, 0])
    assert_limited(log_in(app), 1)


@pytest.mark.parametrize(
    ("path", "body", "rule", "says"),
    [
        ("/login", {"username": "nobody", "password": "x" * 8}, Rule.login, "invalid_credentials"),
        (
            "/login/second-factor",
            {"challenge": "x", "code": "000000"},
            Rule.login,
            "invalid_credentials",
        ),
        ("/register", {"username": "?"}, Rule.register, "validation_error"),
        ("/refresh", None, Rule.refresh, "authentication_required"),
        ("/password/forgot", {"email": "nobody@example.com"}, Rule.recovery, 202),
        (
            "/password/reset",
            {"token": "x", "new_password": "another phrase"},
            Rule.recovery,
            "validation_error",
        ),
        ("/email/verify", {"token": "x"}, Rule.recovery, "validation_error"),
        ("/email/resend", None, Rule.recovery, "authentication_required"),
    ],
)
def test_strict_routes_are_limited_by_address_whatever_is_sent(limited, path, body, rule, says):
    client = limited(**{rule.value: "2 per minute"}).test_client()

    def call(address):
        place = {"REMOTE_ADDR": address}
        return client.post(AUTH + path, json=body, environ_base=place)

    for address, left in (("10.0.0.1", 1), ("10.0.0.1", 0), ("10.0.0.2", 1)):
        answer = call(address)
        assert (told(answer), rate(answer)[:2]) == (says, [2, left])
    assert_limited(call("10.0.0.1"), 2)


PROXIES_SAY = [
    {"X-Forwarded-For": "203.0.113.{n}"},
    {"Forwarded": "for=203.0.113.{n}"},
    {"X-Real-IP": "203.0.113.{n}"},
    {"X-Forwarded-For": "203.0.113.{n}, 10.0.0.{n}", "X-Real-IP": "10.9.0.{n}"},
]


@pytest.mark.parametrize("headers", PROXIES_SAY)
def test_r2_headers_do_not_change_the_address(limited, headers):
    app = limited(RATE_LIMIT_LOGIN="5 per minute")
    answers = [
        told(log_in(app, headers={name: text.format(n=n) for name, text in headers.items()}))
        for n in range(7)
    ]
    assert answers == ["invalid_credentials"] * 5 + ["rate_limited"] * 2


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
def test_an_address_stands_for_all_that_one_client_may_have(limited, one, other, shared):
    app = limited(RATE_LIMIT_LOGIN="1 per minute")
    assert told(log_in(app, address=one)) == "invalid_credentials"
    answer = log_in(app, address=other)
    if shared:
        assert_limited(answer, 1)
    else:
        assert (told(answer), rate(answer)[:2]) == ("invalid_credentials", [1, 0])


def test_r4_logins_to_one_account_are_limited_whatever_the_address(alice, limited):
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="10 per 15 minutes")
    statuses = [log_in(app, "alice", address=f"10.0.0.{n}").status_code for n in range(11)]
    assert statuses == [401] * 10 + [429]
    wait = assert_limited(log_in(app, "alice", address="10.0.1.1"), 10)
    assert 14 * 60 <= wait <= 15 * 60
    # The right password neither, and any other account yes.
    assert log_in(app, "alice", address="10.0.1.2", password=PASSWORD).status_code == 429
    assert log_in(app, "bob", address="10.0.1.2").status_code == 401


@pytest.mark.parametrize("known", [True, False])
def test_an_account_is_one_however_its_name_is_written_and_whether_it_exists(
    accounts, limited, known
):
    if known:
        accounts.make("alice")
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="3 per 15 minutes")
    names = ["alice", "ALICE", "aLiCe", "alice"]
    answers = [log_in(app, name, address=f"10.0.0.{n}") for n, name in enumerate(names)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert rate(answers[0])[0] == 1000


def test_the_name_and_the_address_of_an_account_are_one_account(alice, limited):
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="2 per 15 minutes")
    assert told(log_in(app, "alice")) == "invalid_credentials"
    assert told(log_in(app, email="Alice@example.com")) == "invalid_credentials"
    assert_limited(log_in(app, "alice"), 2)
    assert_limited(log_in(app, email="alice@example.com"), 2)


def test_nobody_can_be_taken_for_an_account_by_its_id(alice, limited):
    app = limited(RATE_LIMIT_LOGIN_ACCOUNT="1 per 15 minutes")
    for name in (str(alice.id), f"user {alice.id}", f"user-{alice.id}"):
        assert told(log_in(app, name)) == "invalid_credentials"
    assert told(log_in(app, "alice")) == "invalid_credentials"
    assert_limited(log_in(app, "alice"), 1)


def test_r4_a_stranger_cannot_lock_the_owner_out_of_a_session_that_it_has(alice, limited):
    app = limited(**dict.fromkeys((Rule.login_account, Rule.refresh_account), "2 per 15 minutes"))
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


def test_the_refresh_token_of_a_session_that_is_over_costs_the_account_nothing(
    alice, accounts, limited
):
    app = limited(RATE_LIMIT_REFRESH_ACCOUNT="1 per 15 minutes")
    over = accounts.log_in("alice")
    over.post("/auth/logout")
    client = app.test_client()

    def refresh(token):
        headers = {"Authorization": f"Bearer {token}"}
        return client.post(f"{AUTH}/refresh", headers=headers)

    assert [refresh(over.refresh_token).status_code for _ in range(3)] == [401] * 3
    renewed = refresh(alice.refresh_token)
    assert renewed.status_code == 200
    assert_limited(refresh(renewed.json["refresh_token"]), 1)


@pytest.mark.parametrize("path", ["/reauthenticate", "/password"])
def test_a_stolen_token_does_not_let_guess_the_password(alice, limited, path):
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
    ("path", "rule", "bodies"),
    [
        (
            "/register",
            Rule.register_account,
            [
                {"username": f"eve{n}", "email": "Eve@ex.com", "password": PASSWORD}
                for n in range(3)
            ],
        ),
        ("/password/forgot", Rule.recovery_account, [{"email": "eve@ex.com"}] * 3),
    ],
)
def test_an_address_of_mail_is_asked_for_so_often_only(limited, path, rule, bodies):
    app = limited(**{rule.value: "2 per 15 minutes"})
    answers = [
        app.test_client().post(AUTH + path, json=body, environ_base={"REMOTE_ADDR": f"10.0.0.{n}"})
        for n, body in enumerate(bodies)
    ]
    assert answers[0].status_code in {201, 202}
    assert_limited(answers[-1], 2)


def test_several_rates_hold_together(limited):
    app = limited(RATE_LIMIT_LOGIN="2 per second; 3 per minute")
    with time_machine.travel("2026-11-21T09:00:00Z", tick=False) as clock:
        assert [told(log_in(app)) for _ in range(2)] == ["invalid_credentials"] * 2
        assert_limited(log_in(app), 2)
        clock.shift(2)
        answer = log_in(app)
        assert (told(answer), rate(answer)[:2]) == ("invalid_credentials", [3, 0])
        assert_limited(log_in(app), 3)


def test_counting_asks_the_database_nothing(alice, limited, statements):
    app = limited()
    me = as_alice(alice, app)
    with statements() as plain:
        alice.get("/auth/me")
        log_in(alice.client.application, "alice")
    with statements_of(app) as seen:
        me.get("/auth/me")
        log_in(app, "alice")
    assert seen == plain


def test_switched_off_nothing_is_counted_nor_told(app, client):
    assert "rate_limits" not in app.extensions
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None]]
    assert not [hook for hook in hooks if hook.__module__ == "app.http.limits"]
    answers = [log_in(app, "nobody") for _ in range(12)]
    assert {answer.status_code for answer in answers} == {401}
    assert not set(HEADERS) & set(answers[0].headers.keys())


def test_what_is_counted_for_names_nobody(limited):
    app = limited()
    accounts = Accounts(app)
    accounts.make("eve")
    log_in(app, "somebody", email="somebody@example.com")
    held = app.extensions["rate_limits"].strategy.storage.events
    assert held
    assert not re.search("eve|somebody|example", " ".join(held))
