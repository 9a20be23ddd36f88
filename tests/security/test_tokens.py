"""Checks T1 to T14: which tokens are valid, and for how long (RFC 6750, RFC 8725, RFC 9700)."""

import json
import os
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import delete, select

from app import clock as app_clock
from app.auth.jwt import key_id
from app.auth.models import Role, Session, User
from app.extensions import db
from benchmarks.server import Client, started
from tests.accounts import PASSWORD
from tests.conftest import SECRET
from tests.forging import OTHER, claims_of, encode, header_of, sign
from tests.problems import assert_problem

LOGIN = datetime(2030, 1, 31, 9, tzinfo=UTC)
ME = "/api/v1/auth/me"
IDS = select(Session.id)
MISSING = object()


@pytest.fixture
def header(alice):
    return header_of(alice.access_token)


@pytest.fixture
def claims(alice):
    return claims_of(alice.access_token)


@pytest.fixture
def present(client):
    """Read the account of a token."""

    def call(token):
        return client.get(ME, headers={"Authorization": f"Bearer {token}"})

    return call


@pytest.fixture
def refresh_with(client):
    """Refresh a session with a token."""

    def call(token):
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/api/v1/auth/refresh", headers=headers)

    return call


@pytest.fixture
def clock():
    """A clock that moves only when a test shifts it."""
    with time_machine.travel(LOGIN, tick=False) as traveller:
        yield traveller


def assert_invalid(response):
    assert_problem(response, 401, "invalid_token")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("value", [None, "", "Basic YTpi", "Token x", "{token}", "Bearer{token}"])
def test_t1_missing_token_challenge_has_no_error(alice, client, value):
    headers = {} if value is None else {"Authorization": value.format(token=alice.access_token)}
    response = client.get(ME, headers=headers)
    assert_problem(response, 401, "authentication_required")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["x", "x.y.z", "tap_x", "tap_" + "A" * 43, "null", "0"])
def test_t1_bad_token_challenge_says_invalid_token(present, token):
    assert_invalid(present(token))


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_t2_scheme_is_case_insensitive(alice, client, scheme):
    response = client.get(ME, headers={"Authorization": f"{scheme} {alice.access_token}"})
    assert response.json["username"] == "alice"


@pytest.mark.parametrize("spaces", [1, 2, 7])
def test_any_number_of_spaces_may_stand_before_the_token(alice, client, spaces):
    """RFC 9110, 11.4: ``auth-scheme [ 1*SP ( token68 / ... ) ]``."""
    header = {"HTTP_AUTHORIZATION": f"Bearer{' ' * spaces}{alice.access_token}"}
    assert client.get(ME, environ_overrides=header).json["username"] == "alice"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer {token} ",
        "Bearer {token},",
        "Bearer {token}, Bearer {token}",
        "Bearer t\u00f6ken",
        "Bearer {token}\u00e9",
        "Bearer \x01",
        "Bearer tap_\u00e9",
    ],
)
def test_t2_malformed_authorization_is_rejected(alice, client, value):
    # Set in the WSGI environment, because the client normalizes headers.
    header = {"HTTP_AUTHORIZATION": value.format(token=alice.access_token)}
    assert_invalid(client.get(ME, environ_overrides=header))


def test_t2_two_authorization_headers_are_rejected(alice, client):
    header = ("Authorization", f"Bearer {alice.access_token}")
    assert_invalid(client.get(ME, headers=[header, header]))


def test_t3_token_is_read_only_from_the_header(alice, client):
    token = alice.access_token
    client.set_cookie("access_token_cookie", token)
    for name in ("jwt", "access_token", "token"):
        response = client.post(
            "/api/v1/tasks", query_string={name: token}, json={name: token, "title": "x"}
        )
        assert_problem(response, 401, "authentication_required")
    assert alice.get("/tasks").json["data"] == []


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, MISSING])
@pytest.mark.parametrize("signed", [True, False])
def test_t4_token_without_an_algorithm_is_rejected(header, claims, present, algorithm, signed):
    del header["alg"]
    if algorithm is not MISSING:
        header["alg"] = algorithm
    whole = sign(header, claims)
    assert_invalid(present(whole if signed else whole.rpartition(".")[0] + "."))


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("HS384", "sha384"),
        ("HS512", "sha512"),
        ("hs256", "sha256"),
        ("RS256", "sha256"),
        ("EdDSA", "sha512"),
        (["HS256"], "sha256"),
        ({"HS256": 1}, "sha256"),
        (256, "sha256"),
    ],
)
def test_t4_other_algorithms_are_rejected(header, claims, present, algorithm, digest):
    assert_invalid(present(sign(header | {"alg": algorithm}, claims, digest=digest)))


@pytest.mark.parametrize("key", [OTHER, "", "\0", " ", SECRET.upper(), SECRET[:-1]])
@pytest.mark.parametrize("kid", ["current", "matching", "missing"])
def test_t4_other_keys_are_rejected(header, claims, present, key, kid):
    header["kid"] = key_id(SECRET if kid == "current" else key)
    if kid == "missing":
        del header["kid"]
    assert_invalid(present(sign(header, claims, key=key)))


@pytest.mark.parametrize(
    "damaged",
    [
        "{h}.{c}.",
        "{h}.{c}",
        "{h}.{c}.{cut}",
        "{h}.{c}.{turned}",
        "{h}.{c}.{s}.{s}",
        "{h}.{c}.{s}!",
        "{h}.{c}.{s}=",
        "{h}..{s}",
        ".{c}.{s}",
        "{c}.{h}.{s}",
        "..",
        ".",
        "x",
        "%00",
        "{h}.{c}.{s}" + "A" * 5000,
    ],
)
def test_t4_damaged_token_is_rejected(alice, present, damaged):
    h, c, s = alice.access_token.split(".")
    assert_invalid(present(damaged.format(h=h, c=c, s=s, cut=s[:-4], turned=s[::-1])))


def test_t4_token_has_one_spelling(alice, present):
    *start, last = alice.access_token
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in set(alphabet) - {last}:
        assert_invalid(present("".join([*start, other])))


@pytest.mark.parametrize("deep", [b"[" * 5000, b'{"a":' * 5000, b"[" * 1200 + b"]" * 1200])
def test_t4_deep_json_in_a_token_is_rejected(header, claims, present, deep):
    for token in (sign(deep, claims), sign(header, deep)):
        assert_invalid(present(token))


@pytest.mark.parametrize("part", [b"[]", b"null", b'"x"', b"7", b"\xff", b"", b"{", b"[1,2]"])
def test_t4_part_that_is_not_an_object_is_rejected(header, claims, present, part):
    assert_invalid(present(sign(part, claims)))
    assert_invalid(present(sign(header, part)))


@pytest.mark.parametrize(
    "kid",
    [
        "/dev/null",
        "../../../../dev/null",
        "' OR 1=1 --",
        "https://attacker.example/key",
        "",
        None,
        0,
        True,
        ["x"],
        {"x": 1},
        "x" * 1000,
    ],
)
@pytest.mark.parametrize("key", [SECRET, ""])
def test_t5_unknown_kid_is_rejected(header, claims, present, offline, kid, key):
    assert_invalid(present(sign(header | {"kid": kid}, claims, key=key)))
    assert offline == []


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "oct", "k": encode(OTHER.encode()).decode()}},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/certificate"},
        {"x5c": ["MIIB"]},
        {"crit": ["x"], "x": 1},
        {"b64": False, "crit": ["b64"]},
    ],
)
@pytest.mark.parametrize("key", [OTHER, SECRET])
def test_t5_key_headers_are_rejected_without_a_request(
    header, claims, present, offline, extra, key
):
    assert_invalid(present(sign(header | extra, claims, key=key)))
    assert offline == []


@pytest.fixture
def offline(monkeypatch):
    """Refuse and list every connection from Python; libpq is not affected."""
    connections = []

    def refuse(*address, **_):
        connections.append(address)
        raise OSError("The server opened a connection.")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
    return connections


def test_t6_correctly_signed_token_is_accepted(header, claims, present):
    assert present(sign(header, claims)).json["username"] == "alice"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "jti", "sub", "iss", "aud", "sid", "type"])
def test_t6_every_claim_is_required(header, claims, present, name):
    del claims[name]
    assert_invalid(present(sign(header, claims)))


WRONG_CLAIMS = [
    ("iss", "another-api"),
    ("iss", ["task-api"]),
    ("iss", None),
    ("aud", "another-api"),
    ("aud", []),
    ("aud", None),
    ("aud", {"task-api": 1}),
    ("nbf", 2**33),
    ("nbf", "soon"),
    ("iat", "now"),
    ("iat", 2**33),
    ("exp", "never"),
    ("exp", None),
    ("exp", [2**33]),
    ("jti", 7),
    ("jti", None),
    ("sid", None),
    ("sid", 7),
    ("sid", ["x"]),
    ("sid", "\ud800"),
    ("sid", "0" * 31),
    ("type", "Access"),
    ("type", ["access"]),
    ("type", None),
    ("fresh", 1),
    ("fresh", "true"),
]
WRONG_SUBJECTS = [
    1,
    True,
    None,
    ["1"],
    {"id": 1},
    "",
    "0",
    "-1",
    "01",
    " 1",
    "1\n",
    "\u0661",
    "1 OR 1=1",
    10**30,
    str(10**30),
    "9999999999999999999",
]


@pytest.mark.parametrize(("name", "value"), WRONG_CLAIMS)
def test_t6_claim_of_the_wrong_type_or_value_is_rejected(header, claims, present, name, value):
    assert_invalid(present(sign(header, claims | {name: value})))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_t6_non_finite_expiry_is_rejected(header, claims, present, number):
    raw = json.dumps(claims).encode().replace(str(claims["exp"]).encode(), number)
    assert_invalid(present(sign(header, raw)))


def test_t6_access_token_expires_after_fifteen_minutes(clock, accounts):
    alice = accounts.make("alice")
    clock.shift(timedelta(minutes=15, seconds=4))
    assert alice.get("/auth/me").status_code == 200
    clock.shift(1)
    response = alice.get("/auth/me")
    assert_problem(response, 401, "token_expired")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    clock.move_to(LOGIN - timedelta(days=1))
    unused = accounts.log_in("alice")
    clock.shift(timedelta(minutes=16))
    assert_problem(unused.get("/auth/me"), 401, "token_expired")


@pytest.mark.parametrize("path", ["/auth/me", "/auth/sessions", "/tasks"])
def test_t7_refresh_token_is_not_an_access_token(alice, path):
    alice.access_token = alice.refresh_token
    assert_problem(alice.get(path), 401, "wrong_token_type")


def test_t7_access_token_is_not_a_refresh_token(alice, refresh_with, stored):
    before = stored(select(Session.refresh_id))
    assert_problem(refresh_with(alice.access_token), 401, "wrong_token_type")
    assert stored(select(Session.refresh_id)) == before


@pytest.mark.parametrize("subject", WRONG_SUBJECTS)
def test_t8_invalid_subject_is_rejected(header, claims, present, subject):
    assert_invalid(present(sign(header, claims | {"sub": subject})))


@pytest.mark.parametrize(("claim", "value"), [("sub", "9223372036854775807"), ("sid", "0" * 32)])
def test_t8_token_of_an_unknown_user_or_session_is_revoked(header, claims, present, claim, value):
    assert_problem(present(sign(header, claims | {claim: value})), 401, "token_revoked")


def test_t8_token_for_another_users_session_is_revoked(header, claims, present, bob):
    other_claims = claims | {"sub": str(bob.id)}
    assert_problem(present(sign(header, other_claims)), 401, "token_revoked")


def test_t8_tokens_of_a_deleted_user_are_revoked_at_once(app, alice, refresh_with):
    script = alice.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    assert alice.get("/auth/me").status_code == 200
    with app.app_context():
        db.session.execute(delete(User).where(User.id == alice.id))
        db.session.commit()
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    assert_problem(refresh_with(alice.refresh_token), 401, "token_revoked")
    alice.access_token = script["token"]
    assert_invalid(alice.get("/auth/me"))


def test_t8_tokens_of_a_disabled_user_are_rejected_at_once(app, alice, bob, refresh_with):
    script = alice.post("/auth/tokens", {"name": "script", "scopes": ["account:read"]}).json
    assert alice.get("/auth/me").status_code == 200
    with app.app_context():
        db.session.get_one(User, alice.id).disabled_at = app_clock.now()
        db.session.commit()
    for token in (alice.access_token, script["token"]):
        alice.access_token = token
        assert_problem(alice.get("/auth/me"), 403, "account_disabled")
    assert_problem(refresh_with(alice.refresh_token), 403, "account_disabled")
    assert bob.get("/auth/me").status_code == 200


@pytest.mark.parametrize("seconds", [11, 600])
def test_t9_reused_refresh_token_ends_the_session(clock, alice, refresh_with, stored, seconds):
    newest = refresh_with(alice.refresh_token).json
    clock.shift(seconds)
    assert_problem(refresh_with(alice.refresh_token), 401, "token_reused")
    assert stored(IDS) == []
    assert_problem(refresh_with(newest["refresh_token"]), 401, "token_revoked")
    alice.access_token = newest["access_token"]
    assert_problem(alice.get("/tasks"), 401, "token_revoked")


@pytest.mark.parametrize("count", [8, 10])
def test_t10_parallel_refreshes_leave_one_valid_chain(
    clock, app, alice, refresh_with, stored, count
):
    start = Barrier(count)

    def refresh(_):
        client = app.test_client()
        start.wait()
        headers = {"Authorization": f"Bearer {alice.refresh_token}"}
        return client.post("/api/v1/auth/refresh", headers=headers)

    with ThreadPoolExecutor(count) as pool:
        responses = list(pool.map(refresh, range(count)))
    assert Counter(response.status_code for response in responses) == {200: count}
    tokens = [response.json["refresh_token"] for response in responses]
    assert len({claims_of(token)["jti"] for token in tokens}) == count
    # One session remains, and one of the tokens is valid.
    [(session_id, valid_id)] = stored(select(Session.id, Session.refresh_id))
    assert {claims_of(token)["sid"] for token in tokens} == {session_id}
    [chain] = [token for token in tokens if claims_of(token)["jti"] == valid_id]
    clock.shift(11)
    assert refresh_with(chain).status_code == 200
    # Any other token was used before, so it ends the session.
    clock.shift(11)
    for token in tokens:
        if token != chain:
            assert refresh_with(token).status_code == 401
    assert stored(IDS) == []


def test_t11_session_ends_after_thirty_idle_days(clock, alice, refresh_with):
    clock.shift(timedelta(days=30) - timedelta(seconds=1))
    newest = refresh_with(alice.refresh_token).json["refresh_token"]
    clock.shift(timedelta(days=30, seconds=5))
    assert_problem(refresh_with(newest), 401, "token_expired")


def test_t11_session_ends_after_ninety_days(clock, alice, refresh_with):
    token, days = alice.refresh_token, []
    for _ in range(3):
        clock.shift(timedelta(days=29))
        pair = refresh_with(token).json
        token = pair["refresh_token"]
        days.append(pair["refresh_expires_in"] // 86400)
    assert days == [30, 30, 3]
    clock.shift(timedelta(days=3, minutes=-5))
    pair = refresh_with(token).json
    assert pair["refresh_expires_in"] == 300
    alice.access_token = pair["access_token"]
    assert alice.get("/auth/me").status_code == 200
    clock.shift(300)
    assert_problem(refresh_with(pair["refresh_token"]), 401, "token_revoked")
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")


@pytest.mark.parametrize("token", ["access_token", "refresh_token"])
def test_t12_logout_with_either_token_ends_the_session(
    alice, accounts, refresh_with, stored, token
):
    other = accounts.log_in("alice")
    access, remaining = alice.access_token, claims_of(other.access_token)["sid"]
    alice.access_token = getattr(alice, token)
    response = alice.post("/auth/logout")
    assert (response.status_code, response.data) == (204, b"")
    assert stored(IDS) == [(remaining,)]
    assert_problem(refresh_with(alice.refresh_token), 401, "token_revoked")
    alice.access_token = access
    for _ in range(3):
        assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    assert_problem(alice.post("/auth/logout"), 401, "token_revoked")
    assert other.get("/auth/me").status_code == 200


def test_t12_logout_holds_on_every_worker_and_after_a_restart():
    database = os.environ.get("TEST_DATABASE_URL")
    with started(database, WEB_CONCURRENCY="4", RATELIMIT_ENABLED="0") as server:
        with Client(server.port) as client:
            account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
            assert client.call("POST", "/auth/register", account)[0] == 201
            client.log_in("ada", PASSWORD)

        def read():
            with Client(server.port) as other:
                other.headers = client.headers
                status, body = other.call("GET", "/auth/me")
                return status, body.get("code")

        # Each worker has decoded the token, and may cache it.
        assert {read() for _ in range(40)} == {(200, None)}
        assert len(server.workers()) == 4
        with Client(server.port) as other:
            other.headers = client.headers
            assert other.call("POST", "/auth/logout")[0] == 204
        assert {read() for _ in range(40)} == {(401, "token_revoked")}
        server.kill()
        server.start()
        assert {read() for _ in range(8)} == {(401, "token_revoked")}


def test_t13_lowered_role_takes_effect_at_the_next_request(app, alice, admin):
    path = f"/tasks/{alice.task()['id']}"
    assert admin.get(path).status_code == 200
    with app.app_context():
        db.session.get_one(User, admin.id).role = Role.user
        db.session.commit()
    assert_problem(admin.get(path), 404, "not_found")
    assert_problem(admin.patch(path, {"title": "Mine"}), 404, "not_found")
    assert admin.get("/auth/me").json["role"] == "user"
    assert alice.get(path).json["title"] == "Buy milk"


def test_t14_tokens_have_no_secret_claims(header, claims, alice, stored):
    assert header == {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}
    [(session_id,)] = stored(IDS)
    assert claims.pop("exp") - claims.pop("iat") == 900
    assert claims.pop("nbf") <= time.time()
    assert len(claims.pop("jti")) >= 32
    shared = {"sub": str(alice.id), "sid": session_id, "iss": "task-api", "aud": "task-api"}
    assert claims == shared | {"type": "access", "fresh": True}
    refresh = claims_of(alice.refresh_token)
    assert refresh.keys() == {*shared, "type", "fresh", "exp", "iat", "nbf", "jti"}
    assert shared.items() <= refresh.items()


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
REQUESTS = [
    ("GET", "/api/v1/auth/me", None),
    ("GET", "/api/v1/tasks", None),
    ("POST", "/api/v1/tasks", {"title": "Forged"}),
    ("PUT", "/api/v1/tasks/1/status", {"status": "completed"}),
    ("DELETE", "/api/v1/tasks/1", None),
]


class Forger:
    """Invalid tokens, made from a valid header and claims; each method also returns the code."""

    def __init__(self, rng, header, claims):
        self.random, self.header, self.claims = rng, header, claims

    def secret(self):
        return self.random.choice([OTHER, "", SECRET[:-1], SECRET.upper(), self.word(48)])

    def word(self, length):
        return "".join(self.random.choices(ALPHABET, k=length))

    def algorithm(self):
        names = ["none", "None", "", None, "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA"]
        digest = self.random.choice(["sha256", "sha384", "sha512"])
        header = self.header | {"alg": self.random.choice(names)}
        whole = sign(header, self.claims, digest=digest)
        return self.random.choice([whole, whole.rpartition(".")[0] + "."]), "invalid_token"

    def key(self):
        key = self.secret()
        kid = {"kid": key_id(self.random.choice([SECRET, key]))}
        return sign(self.header | kid, self.claims, key=key), "invalid_token"

    def other_server(self):
        key = self.word(48)
        return sign(self.header | {"kid": key_id(key)}, self.claims, key=key), "invalid_token"

    def key_name(self):
        names = ["/dev/null", "../../etc/passwd", "' OR 1=1 --", "https://attacker.example/k", "x"]
        kid = self.random.choice([*names, None, 0, ["x"], {"x": 1}, self.word(16)])
        key = self.random.choice([SECRET, "", self.secret()])
        return sign(self.header | {"kid": kid}, self.claims, key=key), "invalid_token"

    def embedded_key(self):
        key = self.secret()
        address = f"https://attacker.example/{self.word(8)}"
        extra = self.random.choice(
            [
                {"jwk": {"kty": "oct", "k": encode(key.encode()).decode()}},
                {"jku": address},
                {"x5u": address},
                {"x5c": [self.word(40)]},
                {"crit": ["exp"]},
            ]
        )
        key = self.random.choice([SECRET, key])
        return sign(self.header | extra, self.claims, key=key), "invalid_token"

    def claim(self):
        wrong = [*WRONG_CLAIMS, *(("sub", subject) for subject in WRONG_SUBJECTS)]
        if self.random.random() < 0.7:
            name, value = self.random.choice(wrong)
            claims = self.claims | {name: value}
        else:
            missing = self.random.choice(["exp", "nbf", "iat", "sub", "sid", "iss", "aud", "type"])
            claims = {name: value for name, value in self.claims.items() if name != missing}
        return sign(self.header, claims), "invalid_token"

    def expired(self):
        ended = self.claims["iat"] - self.random.randrange(6, 10**8)
        return sign(self.header, self.claims | {"exp": ended}), "token_expired"

    def type(self):
        return sign(self.header, self.claims | {"type": "refresh"}), "wrong_token_type"

    def unknown(self):
        changes = [{"sid": f"{self.random.getrandbits(128):032x}"}, {"sub": "9" * 18}]
        return sign(self.header, self.claims | self.random.choice(changes)), "token_revoked"

    def truncation(self):
        whole = sign(self.header, self.claims)
        return whole[: self.random.randrange(1, len(whole))], "invalid_token"

    def damage(self):
        whole = sign(self.header, self.claims)
        place = self.random.choice([self.random.randrange(len(whole)), len(whole) - 1])
        other = self.random.choice(ALPHABET.replace(whole[place], "") + ".")
        if whole[place] == other:
            other = "A"
        return whole[:place] + other + whole[place + 1 :], "invalid_token"

    def splice(self):
        more = sign(self.header, self.claims | {"sub": "1", "fresh": False}, key=OTHER).split(".")
        whole = sign(self.header, self.claims).split(".")
        place = self.random.randrange(1, 3)
        return ".".join([*whole[:place], more[place], *whole[place + 1 :]]), "invalid_token"

    def personal(self):
        return f"tap_{self.word(43)}", "invalid_token"


FAMILIES = [name for name in vars(Forger) if name not in {"secret", "word"} and name[0] != "_"]


def test_t4_to_t8_1000_forged_tokens_are_rejected_with_the_right_code(
    alice, client, header, claims, offline, stored
):
    alice.task()
    rng = random.Random(20300131)
    statuses, tokens = Counter(), set()
    for number in range(1000):
        own_claims = claims | {"jti": f"{rng.getrandbits(128):032x}"}
        family = FAMILIES[number % len(FAMILIES)]
        token, code = getattr(Forger(rng, header, own_claims), family)()
        method, path, body = rng.choice(REQUESTS)
        bearer = {"Authorization": f"Bearer {token}"}
        response = client.open(path, method=method, json=body, headers=bearer)
        assert (response.status_code, response.json["code"]) == (401, code), (family, token)
        assert_problem(response, 401, code)
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        statuses[response.status_code] += 1
        tokens.add(token)
    assert statuses == {401: 1000}
    assert len(tokens) >= 990  # short ones may repeat
    assert offline == []
    assert alice.get("/tasks").json["data"][0]["status"] == "pending"
    assert len(stored(IDS)) == 1
