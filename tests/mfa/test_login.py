"""Login with a second factor: single use of codes, and lockout after wrong ones."""

import base64
import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from itsdangerous import URLSafeTimedSerializer
from pyotp import TOTP
from sqlalchemy import func, select, update

from app.audit.models import AuditEvent
from app.auth import passwords
from app.auth.models import RecoveryCode, SecondFactor, Session, User
from app.extensions import db
from app.mfa.services import LOCKOUT, MAX_WRONG_CODES
from tests.accounts import PASSWORD
from tests.conftest import SECRET
from tests.mfa.conftest import LOGIN, START, STEP
from tests.problems import assert_problem, pointers

SESSIONS = select(func.count()).select_from(Session)
CODES_LEFT = select(func.count()).select_from(RecoveryCode)
LAST_STEP = select(SecondFactor.last_step)


def last_events(stored, *events):
    """Assert the names of the last events, and return them."""
    rows = stored(
        select(AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)
        .order_by(AuditEvent.id.desc())
        .limit(len(events))
    )
    assert [row[0] for row in rows][::-1] == list(events)
    return rows[::-1]


def update_users(app, **values):
    with app.app_context():
        db.session.execute(update(User).values(values))
        db.session.commit()


@pytest.fixture
def code(clock, totp):
    """Return an unused code: that of the step after the confirmation."""
    clock.shift(STEP)
    return totp.now()


def assert_logged_in(response, account, stored):
    """Assert that a response has opened a second session of an account."""
    assert response.status_code == 200
    headers = {"Authorization": f"Bearer {response.json['access_token']}"}
    assert account.get("/auth/me", headers=headers).json["id"] == account.id
    assert stored(select(Session.user_id)) == [(account.id,)] * 2


def wrong(code):
    """Return a code that differs from this one and, most likely, from those of adjacent steps."""
    return f"{(int(code) + 500_000) % 1_000_000:06}"


def test_password_alone_opens_no_session(alice, second_factor, client, stored):
    before = stored(SESSIONS)
    response = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    problem = assert_problem(response, 401, "second_factor_required")
    assert set(problem) == {
        "type",
        "title",
        "status",
        "code",
        "detail",
        "instance",
        "request_id",
        "challenge",
    }
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Cache-Control"] == "no-store"
    assert stored(SESSIONS) == before


def test_challenge_contains_no_secret(alice, second_factor, challenge, stored):
    payload = challenge().split(".")[0]
    data = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    [(password_hash,)] = stored(select(User.password_hash))
    assert data[0] == alice.id
    assert len(data) == 2
    assert data[1] not in password_hash


def test_wrong_password_does_not_reveal_second_factor(alice, second_factor, bob, client):
    responses = [
        client.post(LOGIN, json={"username": name, "password": "x"}, headers={"X-Request-ID": "1"})
        for name in ("alice", "bob", "nobody")
    ]
    for response in responses:
        assert_problem(response, 401, "invalid_credentials")
        assert (response.data, dict(response.headers)) == (
            responses[0].data,
            dict(responses[0].headers),
        )


def test_challenge_and_code_open_a_session(alice, code, challenge, complete, stored):
    response = complete(challenge(), code)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    body = dict(response.json)
    access_token = body.pop("access_token")
    assert body.pop("refresh_token").count(".") == 2
    assert body.pop("user") == alice.get("/auth/me").json
    assert body == {"token_type": "Bearer", "expires_in": 900, "refresh_expires_in": 30 * 86400}
    alice.access_token = access_token
    # The new access token is fresh.
    password_change = {"current_password": PASSWORD, "new_password": "another phrase"}
    assert alice.put("/auth/password", password_change).status_code == 204
    [row] = last_events(stored, "login_succeeded", "password_changed")[:1]
    assert row[1:3] == (alice.id, alice.id)
    assert set(row[3]) == {"session_id"}


@pytest.mark.parametrize("typed", ["{}{}", " {} {}\n", "{}-{}"])
@pytest.mark.parametrize("steps", [0, 1])
def test_code_of_current_or_next_step_is_accepted(
    alice, clock, totp, challenge, complete, stored, typed, steps
):
    clock.shift(STEP)
    code = totp.at(START + timedelta(seconds=STEP), counter_offset=steps)
    response = complete(challenge(), typed.format(code[:3], code[3:]))
    assert_logged_in(response, alice, stored)
    assert stored(LAST_STEP) == [(totp.timecode(START) + 1 + steps,)]


def test_code_of_previous_step_is_accepted(alice, clock, totp, challenge, complete, stored):
    clock.shift(2 * STEP)
    code = totp.at(START + timedelta(seconds=STEP))
    assert_logged_in(complete(challenge(), code), alice, stored)
    assert stored(LAST_STEP) == [(totp.timecode(START) + 1,)]


@pytest.mark.parametrize("steps", [-2, 2])
def test_code_of_distant_step_is_rejected(clock, totp, challenge, complete, stored, steps):
    clock.shift(10 * STEP)
    code = totp.at(START + timedelta(seconds=10 * STEP), counter_offset=steps)
    assert_problem(complete(challenge(), code), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(1,)]


def test_code_used_for_confirmation_is_rejected(totp, challenge, complete, stored):
    assert_problem(complete(challenge(), totp.now()), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(1,)]


def test_used_and_earlier_codes_are_rejected(clock, totp, code, challenge, complete, stored):
    earlier, later = code, totp.at(START + timedelta(seconds=2 * STEP))
    assert complete(challenge(), later).status_code == 200
    for replayed in (later, earlier):
        assert_problem(complete(challenge(), replayed), 401, "invalid_credentials")
    clock.shift(STEP)
    assert_problem(complete(challenge(), later), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(2,)]


@pytest.mark.parametrize("code_type", ["totp", "recovery"])
def test_concurrent_use_of_one_code_opens_one_session(
    code, recovery_codes, challenge, complete, stored, code_type
):
    start = Barrier(8)
    proof = challenge()
    used_code = code if code_type == "totp" else recovery_codes[3]

    def call(_):
        start.wait()
        return complete(proof, used_code)

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(call, range(8)))
    statuses = Counter(response.status_code for response in responses)
    # A used code counts as a wrong one.
    assert statuses == {200: 1, 401: MAX_WRONG_CODES, 429: 7 - MAX_WRONG_CODES}
    assert stored(SESSIONS) == [(2,)]
    assert stored(CODES_LEFT) == [(10 if code_type == "totp" else 9,)]


@pytest.mark.parametrize(
    "typed", [str, str.upper, lambda code: code.replace("-", ""), " {} ".format]
)
def test_recovery_code_works_once(alice, recovery_codes, challenge, complete, stored, typed):
    code = typed(recovery_codes[0])
    response = complete(challenge(), code)
    assert response.status_code == 200
    assert alice.get("/auth/totp").json == {"confirmed": True, "recovery_codes_left": 9}
    rows = last_events(stored, "recovery_code_used", "login_succeeded")
    assert {row[1:3] for row in rows} == {(alice.id, alice.id)}
    assert_problem(complete(challenge(), code), 401, "invalid_credentials")
    assert complete(challenge(), recovery_codes[1]).status_code == 200
    assert stored(CODES_LEFT) == [(8,)]


def test_recovery_code_of_another_user_is_rejected(
    bob, recovery_codes, challenge, complete, stored
):
    codes_of_bob = bob.enable_second_factor()[1]
    assert_problem(complete(challenge(), codes_of_bob[0]), 401, "invalid_credentials")
    assert stored(CODES_LEFT) == [(20,)]


def test_wrong_code_is_recorded(alice, code, challenge, complete, stored):
    assert_problem(complete(challenge(), wrong(code)), 401, "invalid_credentials")
    assert last_events(stored, "second_factor_failed") == [
        ("second_factor_failed", alice.id, alice.id, {})
    ]


@pytest.mark.parametrize(
    "invalid",
    [
        {"challenge": ""},
        {"challenge": 1},
        {"challenge": "x" * 501},
        {"code": ""},
        {"code": None},
        {"code": 123456},
        {"code": "\0"},
        {"code": "x" * 65},
    ],
)
def test_malformed_challenge_or_code_is_a_validation_error(client, invalid):
    body = {"challenge": "x", "code": "123456"} | invalid
    assert pointers(client.post(f"{LOGIN}/second-factor", json=body)) == {f"/{next(iter(invalid))}"}


def test_challenge_expires_after_five_minutes(clock, totp, challenge, complete):
    proof = challenge()
    clock.shift(300)
    assert complete(proof, totp.now()).status_code == 200
    proof = challenge()
    clock.shift(301)
    assert_problem(complete(proof, totp.now()), 401, "invalid_credentials")


def test_altered_challenge_is_rejected(alice, bob, code, challenge, complete, stored):
    proof = challenge()
    payload, timestamp, signature = proof.split(".")
    payload_of_bob = base64.urlsafe_b64encode(json.dumps([bob.id, "0" * 32]).encode()).decode()
    for altered in (
        proof[:-1],
        proof[::-1],
        f"{payload}.{timestamp}",
        f"{payload_of_bob.strip('=')}.{timestamp}.{signature}",
        f"{payload}.{timestamp}.{signature[::-1]}",
        f"{payload}..{signature}",
        "..",
        "é.ü.ß",
        alice.access_token,
    ):
        assert_problem(complete(altered, code), 401, "invalid_credentials")
    assert stored(select(SecondFactor.wrong_codes)) == [(0,)]
    assert stored(SESSIONS) == [(2,)]
    assert complete(proof, code).status_code == 200


@pytest.mark.parametrize(("key", "salt"), [("another", "challenge"), (SECRET, "cursor")])
def test_challenge_with_other_key_or_salt_is_rejected(alice, code, challenge, complete, key, salt):
    data = URLSafeTimedSerializer(SECRET).loads_unsafe(challenge())[1]
    forged = URLSafeTimedSerializer(key, salt=salt).dumps(data)
    assert_problem(complete(forged, code), 401, "invalid_credentials")


def test_code_of_another_user_is_rejected(bob, code, challenge, complete, stored):
    bob.enable_second_factor()
    assert_problem(complete(challenge("bob"), code), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(2,)]
    wrong_codes = select(SecondFactor.wrong_codes).where(SecondFactor.user_id == bob.id)
    assert stored(wrong_codes) == [(1,)]


def test_password_change_invalidates_challenges(alice, code, challenge, complete, stored):
    proof = challenge()
    alice.put("/auth/password", {"current_password": PASSWORD, "new_password": "another phrase"})
    assert_problem(complete(proof, code), 401, "invalid_credentials")
    assert complete(challenge(password="another phrase"), code).status_code == 200


def test_rehash_on_login_keeps_challenge_valid(
    app, alice, code, challenge, complete, stored, monkeypatch
):
    [(before,)] = stored(select(User.password_hash))
    monkeypatch.setattr(passwords, "needs_rehash", lambda _: True)
    proof = challenge()
    assert stored(select(User.password_hash)) != [(before,)]
    assert complete(proof, code).status_code == 200


def test_challenge_is_invalid_after_second_factor_is_removed(
    alice, code, challenge, complete, stored
):
    proof = challenge()
    alice.delete("/auth/totp")
    assert_problem(complete(proof, code), 401, "invalid_credentials")
    unconfirmed = TOTP(alice.post("/auth/totp").json["secret"])
    assert_problem(complete(proof, unconfirmed.now()), 401, "invalid_credentials")
    alice.delete("/auth/me")
    assert_problem(complete(proof, code), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(0,)]


def test_disabled_user_cannot_get_or_use_a_challenge(
    app, alice, code, client, challenge, complete, stored
):
    proof = challenge()
    update_users(app, disabled_at=START)
    response = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    assert_problem(response, 403, "account_disabled")
    assert_problem(complete(proof, code), 403, "account_disabled")
    assert stored(SESSIONS) == [(1,)]
    update_users(app, disabled_at=None)
    assert complete(proof, code).status_code == 200  # the challenge was not used up


def test_five_wrong_codes_lock_the_second_factor(code, challenge, complete, stored):
    proof = challenge()
    for _ in range(MAX_WRONG_CODES):
        assert_problem(complete(proof, wrong(code)), 401, "invalid_credentials")
    assert MAX_WRONG_CODES == 5
    response = complete(proof, code)
    assert_problem(response, 429, "rate_limited")
    assert response.headers["Retry-After"] == "900"
    assert last_events(stored, "second_factor_enabled", *["second_factor_failed"] * 5)
    assert stored(SESSIONS) == [(1,)]


def test_new_challenge_does_not_reset_lockout(
    clock, totp, recovery_codes, code, challenge, complete
):
    for _ in range(MAX_WRONG_CODES):
        complete(challenge(), wrong(code))
    assert_problem(complete(challenge(), code), 429, "rate_limited")
    assert_problem(complete(challenge(), recovery_codes[0]), 429, "rate_limited")
    clock.shift(LOCKOUT - timedelta(seconds=1.5))
    response = complete(challenge(), totp.now())
    assert_problem(response, 429, "rate_limited")
    clock.shift(int(response.headers["Retry-After"]))
    assert complete(challenge(), totp.now()).status_code == 200


def test_wrong_code_after_lockout_locks_again_until_success(clock, totp, challenge, complete):
    for _ in range(MAX_WRONG_CODES):
        complete(challenge(), wrong(totp.now()))
    clock.shift(LOCKOUT)
    assert_problem(complete(challenge(), wrong(totp.now())), 401, "invalid_credentials")
    assert_problem(complete(challenge(), totp.now()), 429, "rate_limited")
    clock.shift(LOCKOUT)
    assert complete(challenge(), totp.now()).status_code == 200
    for _ in range(MAX_WRONG_CODES - 1):
        complete(challenge(), wrong(totp.now()))
    clock.shift(STEP)
    assert complete(challenge(), totp.now()).status_code == 200


def test_wrong_recovery_codes_count_toward_lockout(code, recovery_codes, challenge, complete):
    for number in range(MAX_WRONG_CODES):
        guess = f"aaaa-bbbb-cccc-dddd-eeee-fff{number + 2}"
        assert_problem(complete(challenge(), guess), 401, "invalid_credentials")
    assert_problem(complete(challenge(), recovery_codes[0]), 429, "rate_limited")


def test_concurrent_wrong_codes_are_all_counted(code, challenge, complete, stored):
    start = Barrier(MAX_WRONG_CODES)
    proof = challenge()

    def guess(_):
        start.wait()
        return complete(proof, wrong(code)).status_code

    with ThreadPoolExecutor(MAX_WRONG_CODES) as pool:
        assert set(pool.map(guess, range(MAX_WRONG_CODES))) == {401}
    assert stored(select(SecondFactor.wrong_codes)) == [(MAX_WRONG_CODES,)]


def test_lockout_requires_correct_password(alice, code, client, challenge, complete, stored):
    for _ in range(MAX_WRONG_CODES + 1):
        client.post(LOGIN, json={"username": "alice", "password": "not the password"})
        complete("not a challenge", wrong(code))
    assert stored(select(SecondFactor.wrong_codes)) == [(0,)]
    assert complete(challenge(), code).status_code == 200


def test_lockout_does_not_affect_active_sessions(alice, code, challenge, complete, stored):
    for _ in range(MAX_WRONG_CODES):
        complete(challenge(), wrong(code))
    assert stored(select(SecondFactor.locked_until)) != [(None,)]
    assert alice.get("/auth/me").json["id"] == alice.id
    reauthentication = alice.post("/auth/reauthenticate", {"password": PASSWORD})
    assert reauthentication.status_code == 200
    alice.access_token = reauthentication.json["access_token"]
    assert alice.get("/auth/me").json["id"] == alice.id


def test_log_contains_no_secret(alice, client, challenge, complete, clock, caplog):
    with caplog.at_level(logging.DEBUG):
        totp, recovery_codes = alice.enable_second_factor()
        used_code = totp.now()
        clock.shift(STEP)
        proof = challenge()
        assert complete(proof, totp.now()).status_code == 200
        complete(proof, recovery_codes[0])
    for secret in (totp.secret, used_code, totp.now(), proof, *recovery_codes):
        assert secret not in caplog.text


@pytest.mark.usefixtures("second_factor")
def test_password_reset_does_not_bypass_second_factor(client, mails):
    mails.arrived()
    client.post("/api/v1/auth/password/forgot", json={"email": "alice@example.com"})
    payload = {"token": mails.token("alice@example.com"), "new_password": "a wholly new passphrase"}
    assert client.post("/api/v1/auth/password/reset", json=payload).status_code == 204
    credentials = {"username": "alice", "password": payload["new_password"]}
    assert_problem(client.post(LOGIN, json=credentials), 401, "second_factor_required")
