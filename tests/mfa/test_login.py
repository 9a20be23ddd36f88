"""Logging in with a second factor: each code works once, and guessing leads nowhere."""

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


def recorded(stored, *events):
    """The last events of an account, which are to be of just these kinds."""
    rows = stored(
        select(AuditEvent.event, AuditEvent.user_id, AuditEvent.actor_id, AuditEvent.details)
        .order_by(AuditEvent.id.desc())
        .limit(len(events))
    )
    assert [row[0] for row in rows][::-1] == list(events)
    return rows[::-1]


def change(app, **values):
    with app.app_context():
        db.session.execute(update(User).values(values))
        db.session.commit()


@pytest.fixture
def code(clock, totp):
    """The code of the step after the one that confirmed, in that step."""
    clock.shift(STEP)
    return totp.now()


def assert_logged_in(answer, account, stored):
    """Assert that an answer has opened a second session of an account."""
    assert answer.status_code == 200
    headers = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert account.get("/auth/me", headers=headers).json["id"] == account.id
    assert stored(select(Session.user_id)) == [(account.id,)] * 2


def wrong(code):
    """A code that is not this one, nor one of the steps around it but by bad luck."""
    return f"{(int(code) + 500_000) % 1_000_000:06}"


def test_a_right_password_alone_opens_no_session(alice, two, client, stored):
    before = stored(SESSIONS)
    answer = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    problem = assert_problem(answer, 401, "second_factor_required")
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
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert stored(SESSIONS) == before


def test_a_challenge_says_nothing_secret(alice, two, challenge, stored):
    payload = challenge().split(".")[0]
    said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    [(password_hash,)] = stored(select(User.password_hash))
    assert said[0] == alice.id
    assert len(said) == 2
    assert said[1] not in password_hash


def test_without_the_password_nothing_is_told_of_a_second_factor(alice, two, bob, client):
    answers = [
        client.post(LOGIN, json={"username": name, "password": "x"}, headers={"X-Request-ID": "1"})
        for name in ("alice", "bob", "nobody")
    ]
    for answer in answers:
        assert_problem(answer, 401, "invalid_credentials")
        assert (answer.data, dict(answer.headers)) == (answers[0].data, dict(answers[0].headers))


def test_a_challenge_and_a_code_log_in_as_a_login_does(alice, code, challenge, complete, stored):
    answer = complete(challenge(), code)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = dict(answer.json)
    access_token = body.pop("access_token")
    assert body.pop("refresh_token").count(".") == 2
    assert body.pop("user") == alice.get("/auth/me").json
    assert body == {"token_type": "Bearer", "expires_in": 900, "refresh_expires_in": 30 * 86400}
    alice.access_token = access_token
    assert (
        alice.put(
            "/auth/password", {"current_password": PASSWORD, "new_password": "another phrase"}
        ).status_code
        == 204
    )  # it is fresh
    [row] = recorded(stored, "login_succeeded", "password_changed")[:1]
    assert row[1:3] == (alice.id, alice.id)
    assert set(row[3]) == {"session_id"}


@pytest.mark.parametrize("typed", ["{}{}", " {} {}\n", "{}-{}"])
@pytest.mark.parametrize("steps", [0, 1])
def test_a_code_of_a_step_near_now_logs_in(
    alice, clock, totp, challenge, complete, stored, typed, steps
):
    clock.shift(STEP)
    code = totp.at(START + timedelta(seconds=STEP), counter_offset=steps)
    answer = complete(challenge(), typed.format(code[:3], code[3:]))
    assert_logged_in(answer, alice, stored)
    assert stored(LAST_STEP) == [(totp.timecode(START) + 1 + steps,)]


def test_a_code_of_the_step_before_logs_in(alice, clock, totp, challenge, complete, stored):
    clock.shift(2 * STEP)
    code = totp.at(START + timedelta(seconds=STEP))
    assert_logged_in(complete(challenge(), code), alice, stored)
    assert stored(LAST_STEP) == [(totp.timecode(START) + 1,)]


@pytest.mark.parametrize("steps", [-2, 2])
def test_a_code_of_another_step_does_not_log_in(clock, totp, challenge, complete, stored, steps):
    clock.shift(10 * STEP)
    code = totp.at(START + timedelta(seconds=10 * STEP), counter_offset=steps)
    assert_problem(complete(challenge(), code), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(1,)]


def test_the_code_that_confirmed_does_not_log_in(totp, challenge, complete, stored):
    assert_problem(complete(challenge(), totp.now()), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(1,)]


def test_a_code_works_once_and_neither_does_an_earlier_one(
    clock, totp, code, challenge, complete, stored
):
    earlier, later = code, totp.at(START + timedelta(seconds=2 * STEP))
    assert complete(challenge(), later).status_code == 200
    for replayed in (later, earlier):
        assert_problem(complete(challenge(), replayed), 401, "invalid_credentials")
    clock.shift(STEP)
    assert_problem(complete(challenge(), later), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(2,)]


@pytest.mark.parametrize("kind", ["timed", "recovery"])
def test_one_code_at_once_in_many_places_logs_in_once(
    code, recovery_codes, challenge, complete, stored, kind
):
    start = Barrier(8)
    proof = challenge()
    used = code if kind == "timed" else recovery_codes[3]

    def call(_):
        start.wait()
        return complete(proof, used)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    statuses = Counter(answer.status_code for answer in answers)
    # A code that comes again counts as a wrong one.
    assert statuses == {200: 1, 401: MAX_WRONG_CODES, 429: 7 - MAX_WRONG_CODES}
    assert stored(SESSIONS) == [(2,)]
    assert stored(CODES_LEFT) == [(10 if kind == "timed" else 9,)]


@pytest.mark.parametrize(
    "typed", [str, str.upper, lambda code: code.replace("-", ""), " {} ".format]
)
def test_a_recovery_code_logs_in_once_however_it_was_typed(
    alice, recovery_codes, challenge, complete, stored, typed
):
    code = typed(recovery_codes[0])
    answer = complete(challenge(), code)
    assert answer.status_code == 200
    assert alice.get("/auth/totp").json == {"confirmed": True, "recovery_codes_left": 9}
    rows = recorded(stored, "recovery_code_used", "login_succeeded")
    assert {row[1:3] for row in rows} == {(alice.id, alice.id)}
    assert_problem(complete(challenge(), code), 401, "invalid_credentials")
    assert complete(challenge(), recovery_codes[1]).status_code == 200
    assert stored(CODES_LEFT) == [(8,)]


def test_a_recovery_code_of_another_account_does_not_log_in(
    bob, recovery_codes, challenge, complete, stored
):
    theirs = bob.enable_second_factor()[1]
    assert_problem(complete(challenge(), theirs[0]), 401, "invalid_credentials")
    assert stored(CODES_LEFT) == [(20,)]


def test_a_wrong_code_is_recorded(alice, code, challenge, complete, stored):
    assert_problem(complete(challenge(), wrong(code)), 401, "invalid_credentials")
    assert recorded(stored, "second_factor_failed") == [
        ("second_factor_failed", alice.id, alice.id, {})
    ]


@pytest.mark.parametrize(
    "said",
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
def test_a_login_is_not_completed_by_what_is_no_text(client, said):
    body = {"challenge": "x", "code": "123456"} | said
    assert pointers(client.post(f"{LOGIN}/second-factor", json=body)) == {f"/{next(iter(said))}"}


def test_a_challenge_is_good_for_five_minutes(clock, totp, challenge, complete):
    proof = challenge()
    clock.shift(300)
    assert complete(proof, totp.now()).status_code == 200
    proof = challenge()
    clock.shift(301)
    assert_problem(complete(proof, totp.now()), 401, "invalid_credentials")


def test_a_challenge_that_was_altered_is_none(alice, bob, code, challenge, complete, stored):
    proof = challenge()
    payload, stamp, signature = proof.split(".")
    theirs = base64.urlsafe_b64encode(json.dumps([bob.id, "0" * 32]).encode()).decode()
    for altered in (
        proof[:-1],
        proof[::-1],
        f"{payload}.{stamp}",
        f"{theirs.strip('=')}.{stamp}.{signature}",
        f"{payload}.{stamp}.{signature[::-1]}",
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
def test_a_challenge_that_was_signed_otherwise_is_none(alice, code, challenge, complete, key, salt):
    said = URLSafeTimedSerializer(SECRET).loads_unsafe(challenge())[1]
    forged = URLSafeTimedSerializer(key, salt=salt).dumps(said)
    assert_problem(complete(forged, code), 401, "invalid_credentials")


def test_the_challenge_of_one_account_takes_no_code_of_another(
    bob, code, challenge, complete, stored
):
    bob.enable_second_factor()
    assert_problem(complete(challenge("bob"), code), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(2,)]
    wrong_codes = select(SecondFactor.wrong_codes).where(SecondFactor.user_id == bob.id)
    assert stored(wrong_codes) == [(1,)]


def test_a_new_password_ends_every_challenge(alice, code, challenge, complete, stored):
    proof = challenge()
    alice.put("/auth/password", {"current_password": PASSWORD, "new_password": "another phrase"})
    assert_problem(complete(proof, code), 401, "invalid_credentials")
    assert complete(challenge(password="another phrase"), code).status_code == 200


def test_a_hash_that_is_renewed_on_login_does_not_end_the_challenge(
    app, alice, code, challenge, complete, stored, monkeypatch
):
    [(before,)] = stored(select(User.password_hash))
    monkeypatch.setattr(passwords, "needs_rehash", lambda _: True)
    proof = challenge()
    assert stored(select(User.password_hash)) != [(before,)]
    assert complete(proof, code).status_code == 200


def test_a_challenge_is_for_nothing_once_the_second_factor_is_gone(
    alice, code, challenge, complete, stored
):
    proof = challenge()
    alice.delete("/auth/totp")
    assert_problem(complete(proof, code), 401, "invalid_credentials")
    begun = TOTP(alice.post("/auth/totp").json["secret"])
    assert_problem(complete(proof, begun.now()), 401, "invalid_credentials")
    alice.delete("/auth/me")
    assert_problem(complete(proof, code), 401, "invalid_credentials")
    assert stored(SESSIONS) == [(0,)]


def test_a_disabled_account_gets_no_challenge_and_completes_none(
    app, alice, code, client, challenge, complete, stored
):
    proof = challenge()
    change(app, disabled_at=START)
    answer = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    assert_problem(answer, 403, "account_disabled")
    assert_problem(complete(proof, code), 403, "account_disabled")
    assert stored(SESSIONS) == [(1,)]
    change(app, disabled_at=None)
    assert complete(proof, code).status_code == 200  # it was not spent


def test_after_five_wrong_codes_a_challenge_is_dead(code, challenge, complete, stored):
    proof = challenge()
    for _ in range(MAX_WRONG_CODES):
        assert_problem(complete(proof, wrong(code)), 401, "invalid_credentials")
    assert MAX_WRONG_CODES == 5
    answer = complete(proof, code)
    assert_problem(answer, 429, "rate_limited")
    assert answer.headers["Retry-After"] == "900"
    assert recorded(stored, "second_factor_enabled", *["second_factor_failed"] * 5)
    assert stored(SESSIONS) == [(1,)]


def test_another_challenge_buys_no_other_guesses(
    clock, totp, recovery_codes, code, challenge, complete
):
    for _ in range(MAX_WRONG_CODES):
        complete(challenge(), wrong(code))
    assert_problem(complete(challenge(), code), 429, "rate_limited")
    assert_problem(complete(challenge(), recovery_codes[0]), 429, "rate_limited")
    clock.shift(LOCKOUT - timedelta(seconds=1.5))
    answer = complete(challenge(), totp.now())
    assert_problem(answer, 429, "rate_limited")
    clock.shift(int(answer.headers["Retry-After"]))
    assert complete(challenge(), totp.now()).status_code == 200


def test_each_further_wrong_code_locks_again_until_one_is_right(clock, totp, challenge, complete):
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


def test_wrong_recovery_codes_count_too(code, recovery_codes, challenge, complete):
    for number in range(MAX_WRONG_CODES):
        guess = f"aaaa-bbbb-cccc-dddd-eeee-fff{number + 2}"
        assert_problem(complete(challenge(), guess), 401, "invalid_credentials")
    assert_problem(complete(challenge(), recovery_codes[0]), 429, "rate_limited")


def test_guesses_at_once_are_all_counted(code, challenge, complete, stored):
    start = Barrier(MAX_WRONG_CODES)
    proof = challenge()

    def guess(_):
        start.wait()
        return complete(proof, wrong(code)).status_code

    with ThreadPoolExecutor(MAX_WRONG_CODES) as pool:
        assert set(pool.map(guess, range(MAX_WRONG_CODES))) == {401}
    assert stored(select(SecondFactor.wrong_codes)) == [(MAX_WRONG_CODES,)]


def test_who_does_not_know_the_password_locks_nobody_out(
    alice, code, client, challenge, complete, stored
):
    for _ in range(MAX_WRONG_CODES + 1):
        client.post(LOGIN, json={"username": "alice", "password": "not the password"})
        complete("not a challenge", wrong(code))
    assert stored(select(SecondFactor.wrong_codes)) == [(0,)]
    assert complete(challenge(), code).status_code == 200


def test_a_locked_second_factor_leaves_live_sessions_alone(
    alice, code, challenge, complete, stored
):
    for _ in range(MAX_WRONG_CODES):
        complete(challenge(), wrong(code))
    assert stored(select(SecondFactor.locked_until)) != [(None,)]
    assert alice.get("/auth/me").json["id"] == alice.id
    renewed = alice.post("/auth/reauthenticate", {"password": PASSWORD})
    assert renewed.status_code == 200
    alice.access_token = renewed.json["access_token"]
    assert alice.get("/auth/me").json["id"] == alice.id


def test_the_log_tells_no_secret(alice, client, challenge, complete, clock, caplog):
    with caplog.at_level(logging.DEBUG):
        totp, recovery_codes = alice.enable_second_factor()
        spent = totp.now()
        clock.shift(STEP)
        proof = challenge()
        assert complete(proof, totp.now()).status_code == 200
        complete(proof, recovery_codes[0])
    for secret in (totp.secret, spent, totp.now(), proof, *recovery_codes):
        assert secret not in caplog.text


@pytest.mark.usefixtures("two")
def test_a_reset_does_not_pass_by_the_second_factor(client, mails):
    mails.arrived()
    client.post("/api/v1/auth/password/forgot", json={"email": "alice@example.com"})
    said = {"token": mails.token("alice@example.com"), "new_password": "a wholly new passphrase"}
    assert client.post("/api/v1/auth/password/reset", json=said).status_code == 204
    credentials = {"username": "alice", "password": said["new_password"]}
    assert_problem(client.post(LOGIN, json=credentials), 401, "second_factor_required")
