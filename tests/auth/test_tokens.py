"""What passes for a token, and what does not (RFC 8725, RFC 6750)."""

import base64
import hmac
import json
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import delete, select

from app import create_app
from app.auth.models import Session, User
from app.auth.tokens import key_id
from app.extensions import db
from tests.accounts import Account
from tests.conftest import SECRET
from tests.problems import assert_problem

OTHER = "the secret of some other installation or thief"
MISSING = object()


def encode(part):
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def sign(header, claims, key=SECRET, digest="sha256"):
    text = encode(header) + b"." + encode(claims)
    return (text + b"." + encode(hmac.digest(key.encode(), text, digest))).decode()


@pytest.fixture
def header(alice):
    return decode(alice.access_token.split(".")[0])


@pytest.fixture
def claims(alice):
    return decode(alice.access_token.split(".")[1])


@pytest.fixture
def present(client):
    """Reads one's own account with some token."""

    def call(token):
        return client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})

    return call


def assert_invalid(answer):
    assert_problem(answer, 401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_says_who_and_which_session_and_nothing_secret(header, claims, alice, stored):
    assert header == {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}
    [(session_id,)] = stored(select(Session.id))
    assert claims.pop("exp") - claims.pop("iat") == 900
    assert claims.pop("nbf") <= time.time()
    assert len(claims.pop("jti")) >= 32
    assert claims == {
        "sub": str(alice.id),
        "sid": session_id,
        "type": "access",
        "fresh": True,
        "iss": "task-api",
        "aud": "task-api",
    }


def test_a_token_made_as_ours_are_is_accepted(header, claims, present):
    assert present(sign(header, claims)).json["username"] == "alice"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, MISSING])
@pytest.mark.parametrize("signed", [True, False])
def test_a_token_without_an_algorithm_is_refused(header, claims, present, algorithm, signed):
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
def test_only_our_algorithm_counts(header, claims, present, algorithm, digest):
    assert_invalid(present(sign(header | {"alg": algorithm}, claims, digest=digest)))


@pytest.mark.parametrize("key", [OTHER, "", "\0", " ", SECRET.upper(), SECRET[:-1]])
@pytest.mark.parametrize("named", ["ours", "its own", "nothing"])
def test_another_key_signs_nothing(header, claims, present, key, named):
    header["kid"] = key_id(SECRET if named == "ours" else key)
    if named == "nothing":
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
def test_a_token_that_is_not_whole_is_refused(alice, present, damaged):
    h, c, s = alice.access_token.split(".")
    assert_invalid(present(damaged.format(h=h, c=c, s=s, cut=s[:-4], turned=s[::-1])))


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
def test_a_key_is_named_by_its_own_name_only(header, claims, present, kid, key):
    assert_invalid(present(sign(header | {"kid": kid}, claims, key=key)))


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
def test_a_token_brings_no_key_of_its_own(header, claims, present, monkeypatch, extra):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **_: asked.append(place))
    assert_invalid(present(sign(header | extra, claims, key=OTHER)))
    assert asked == []


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "jti", "sub", "iss", "aud", "sid", "type"])
def test_every_claim_must_be_there(header, claims, present, name):
    del claims[name]
    assert_invalid(present(sign(header, claims)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
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
        ("type", "Access"),
        ("type", ["access"]),
        ("type", None),
        ("fresh", 1),
        ("fresh", "true"),
        ("sub", 1),
        ("sub", True),
        ("sub", None),
        ("sub", ["1"]),
        ("sub", {"id": 1}),
        ("sub", ""),
        ("sub", "0"),
        ("sub", "-1"),
        ("sub", "01"),
        ("sub", " 1"),
        ("sub", "1\n"),
        ("sub", "\u0661"),
        ("sub", "1 OR 1=1"),
        ("sub", 10**30),
        ("sub", str(10**30)),
        ("sub", "9999999999999999999"),
        ("sid", "\ud800"),
        ("sid", "0" * 31),
    ],
)
def test_a_claim_of_another_type_or_value_is_refused(header, claims, present, name, value):
    assert_invalid(present(sign(header, claims | {name: value})))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_no_number_without_an_end_is_a_time(header, claims, present, number):
    raw = json.dumps(claims).encode().replace(str(claims["exp"]).encode(), number)
    assert_invalid(present(sign(header, raw)))


@pytest.mark.parametrize(
    ("claim", "value"),
    [("sub", "9223372036854775807"), ("sid", "0" * 32)],
)
def test_a_token_of_nobody_is_revoked(header, claims, present, claim, value):
    assert_problem(present(sign(header, claims | {claim: value})), 401, "token_revoked")


def test_a_token_for_another_users_session_is_revoked(header, claims, present, bob):
    theirs = claims | {"sub": str(bob.id)}
    assert_problem(present(sign(header, theirs)), 401, "token_revoked")


def test_the_tokens_of_a_deleted_account_are_revoked_at_once(app, alice, client):
    with app.app_context():
        db.session.execute(delete(User).where(User.id == alice.id))
        db.session.commit()
    assert_problem(alice.get("/auth/me"), 401, "token_revoked")
    alice.access_token = alice.refresh_token
    assert_problem(alice.post("/auth/refresh"), 401, "token_revoked")


def test_an_access_token_dies_after_fifteen_minutes(accounts):
    moment = datetime(2030, 1, 31, 9, tzinfo=UTC)
    with time_machine.travel(moment, tick=False) as clock:
        alice = accounts.make("alice")
        clock.shift(timedelta(minutes=15, seconds=-1))
        assert alice.get("/auth/me").status_code == 200
        clock.shift(1)
        answer = alice.get("/auth/me")
        assert_problem(answer, 401, "token_expired")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        clock.move_to(moment - timedelta(days=1))
        unseen = accounts.log_in("alice")
        clock.shift(timedelta(minutes=16))
        assert_problem(unseen.get("/auth/me"), 401, "token_expired")


@pytest.mark.parametrize("path", ["/auth/me", "/auth/sessions", "/tasks"])
def test_a_refresh_token_opens_nothing(alice, path):
    alice.access_token = alice.refresh_token
    assert_problem(alice.get(path), 401, "wrong_token_type")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_compared_without_case(alice, client, scheme):
    answer = client.get(
        "/api/v1/auth/me", headers={"Authorization": f"{scheme} {alice.access_token}"}
    )
    assert answer.json["username"] == "alice"


@pytest.mark.parametrize("value", ["", "Basic YTpi", "Token x", "{token}", "Bearer{token}"])
def test_another_scheme_is_no_authentication(alice, client, value):
    headers = {"Authorization": value.format(token=alice.access_token)}
    answer = client.get("/api/v1/auth/me", headers=headers)
    assert_problem(answer, 401, "authentication_required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer  {token}",
        "Bearer {token} ",
        "Bearer {token},",
        "Bearer {token}, Bearer {token}",
        "Bearer t\u00f6ken",
        "Bearer {token}\u00e9",
        "Bearer \x01",
    ],
)
def test_a_header_that_is_not_one_token_is_refused(alice, client, value):
    # Straight into the environment: clients tidy headers up.
    answer = client.get(
        "/api/v1/auth/me",
        environ_overrides={"HTTP_AUTHORIZATION": value.format(token=alice.access_token)},
    )
    assert_invalid(answer)


def test_two_authorization_headers_are_refused(alice, client):
    header = ("Authorization", f"Bearer {alice.access_token}")
    assert_invalid(client.get("/api/v1/auth/me", headers=[header, header]))


def test_a_token_counts_only_in_its_header(alice, client):
    token = alice.access_token
    client.set_cookie("access_token_cookie", token)
    for name in ("jwt", "access_token", "token"):
        answer = client.post(
            "/api/v1/tasks", query_string={name: token}, json={name: token, "title": "x"}
        )
        assert_problem(answer, 401, "authentication_required")
    assert alice.get("/tasks").json["data"] == []


@pytest.mark.parametrize("deep", [b"[" * 5000, b'{"a":' * 5000, b"[" * 1200 + b"]" * 1200])
def test_deep_json_inside_a_token_is_refused(header, claims, present, deep):
    for token in (sign(deep, claims), sign(header, deep)):
        assert_invalid(present(token))


@pytest.mark.parametrize("part", [b"[]", b"null", b'"x"', b"7", b"\xff", b"", b"{", b"[1,2]"])
def test_a_part_that_is_no_object_is_refused(header, claims, present, part):
    assert_invalid(present(sign(part, claims)))
    assert_invalid(present(sign(header, part)))


@pytest.fixture
def installation(settings, app):
    """Makes an application on the same database, with other signing secrets."""
    made = []

    def make(secrets):
        other = create_app(settings | {"JWT_SECRET_KEY": secrets})
        made.append(other)
        return other

    yield make
    for other in made:
        with other.app_context():
            db.engine.dispose()


def moved(account, app):
    account.client = app.test_client()
    return account


def test_a_rotated_secret_still_verifies_and_no_longer_signs(installation, alice, accounts):
    both = installation(f"{OTHER}, {SECRET}")
    assert moved(alice, both).get("/auth/me").json["username"] == "alice"
    new = alice.post("/auth/reauthenticate", {"password": "correct horse battery"}).json
    assert decode(new["access_token"].split(".")[0])["kid"] == key_id(OTHER)
    only_new = installation(OTHER)
    assert_invalid(moved(alice, only_new).get("/auth/me"))
    alice.access_token = new["access_token"]
    assert alice.get("/auth/me").json["username"] == "alice"


def test_another_installations_token_is_refused(installation, accounts, alice):
    stranger = installation(OTHER)
    login = {"username": "alice", "password": "correct horse battery"}
    theirs = Account(
        alice.client, stranger.test_client().post("/api/v1/auth/login", json=login).json
    )
    assert_invalid(theirs.get("/auth/me"))
