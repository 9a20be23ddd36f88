"""Getting a second factor, and getting rid of it."""

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pyotp import TOTP, parse_uri
from sqlalchemy import func, select

from app.audit.models import AuditEvent
from app.auth.models import RecoveryCode, SecondFactor
from app.mfa import codes
from tests.accounts import PASSWORD
from tests.mfa.conftest import LOGIN, START, STEP
from tests.problems import assert_problem, pointers

EVENTS = select(AuditEvent.event).order_by(AuditEvent.id)
FACTOR = select(SecondFactor.confirmed_at, SecondFactor.last_step)


def events(stored):
    return [event for (event,) in stored(EVENTS) if event.startswith(("second", "recovery"))]


def test_enrolling_tells_a_secret_once_with_what_an_authenticator_scans(alice):
    answer = alice.post("/auth/totp")
    assert answer.status_code == 201
    assert set(answer.json) == {"secret", "otpauth_uri"}
    secret = answer.json["secret"]
    assert re.fullmatch(r"[A-Z2-7]{32}", secret)
    scanned = parse_uri(answer.json["otpauth_uri"])
    assert (scanned.secret, scanned.name, scanned.issuer) == (secret, "alice", "Task API")
    assert scanned.now() == TOTP(secret).now()
    parts = urlsplit(answer.json["otpauth_uri"])
    assert (parts.scheme, parts.netloc, unquote(parts.path)) == (
        "otpauth",
        "totp",
        "/Task API:alice",
    )
    assert parse_qs(parts.query) == {"secret": [secret], "issuer": ["Task API"]}
    assert answer.headers["Cache-Control"] == "no-store"


def test_what_is_at_the_location_tells_no_secret(alice):
    assert_problem(alice.get("/auth/totp"), 404, "not_found")
    location = alice.post("/auth/totp").headers["Location"]
    assert location == "http://127.0.0.1:5000/api/v1/auth/totp"
    answer = alice.get("/auth/totp")
    assert answer.status_code == 200
    assert answer.json == {"confirmed": False, "recovery_codes_left": 0}


def test_an_enrolment_that_is_not_confirmed_changes_nothing_yet(alice, client, stored):
    alice.post("/auth/totp")
    answer = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    assert answer.status_code == 200
    assert stored(FACTOR) == [(None, None)]
    assert events(stored) == []


def test_enrolling_again_replaces_a_secret_that_was_not_confirmed(alice, stored):
    first, second = (TOTP(alice.post("/auth/totp").json["secret"]) for _ in range(2))
    assert first.secret != second.secret
    answer = alice.post("/auth/totp/confirm", {"code": first.now()})
    assert pointers(answer) == {"/code"}
    assert alice.post("/auth/totp/confirm", {"code": second.now()}).status_code == 200


def test_confirming_answers_ten_recovery_codes_once(alice, stored):
    totp = TOTP(alice.post("/auth/totp").json["secret"])
    answer = alice.post("/auth/totp/confirm", {"code": totp.now()})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json) == {"recovery_codes"}
    told = answer.json["recovery_codes"]
    assert len(set(told)) == 10
    assert all(re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){5}", code) for code in told)
    assert alice.get("/auth/totp").json == {"confirmed": True, "recovery_codes_left": 10}
    assert stored(FACTOR) == [(START, totp.timecode(START))]
    assert events(stored) == ["second_factor_enabled"]


@pytest.mark.parametrize("steps", [-1, 0, 1])
@pytest.mark.parametrize("typed", ["{}{}", " {} {} ", "{}-{}"])
def test_a_code_of_a_step_near_now_confirms_however_it_was_typed(alice, stored, steps, typed):
    totp = TOTP(alice.post("/auth/totp").json["secret"])
    code = totp.at(START, counter_offset=steps)
    typed = typed.format(code[:3], code[3:])
    assert alice.post("/auth/totp/confirm", {"code": typed}).status_code == 200
    assert stored(FACTOR) == [(START, totp.timecode(START) + steps)]


@pytest.mark.parametrize("steps", [-2, 2])
def test_a_code_of_another_step_does_not_confirm(alice, stored, steps):
    totp = TOTP(alice.post("/auth/totp").json["secret"])
    code = totp.at(START, counter_offset=steps)
    assert pointers(alice.post("/auth/totp/confirm", {"code": code})) == {"/code"}
    assert stored(FACTOR) == [(None, None)]
    assert stored(select(RecoveryCode.code_hash)) == []
    assert events(stored) == []


@pytest.mark.parametrize(
    "code", ["", " ", "12345", "1234567", "x" * 65, "\uff11" * 6, None, 123456]
)
def test_what_is_no_code_does_not_confirm(alice, stored, code):
    alice.post("/auth/totp")
    assert pointers(alice.post("/auth/totp/confirm", {"code": code})) == {"/code"}
    assert stored(FACTOR) == [(None, None)]


def test_there_is_nothing_to_confirm_or_remove_before_an_enrolment(alice, stored):
    assert_problem(alice.post("/auth/totp/confirm", {"code": "123456"}), 404, "not_found")
    assert_problem(alice.delete("/auth/totp"), 404, "not_found")
    assert stored(FACTOR) == []


def test_a_confirmed_second_factor_is_not_replaced(clock, alice, totp, stored):
    before = stored(select(SecondFactor.secret))
    assert_problem(alice.post("/auth/totp"), 409, "conflict")
    clock.shift(STEP)
    answer = alice.post("/auth/totp/confirm", {"code": totp.now()})
    assert_problem(answer, 409, "conflict")
    assert stored(select(SecondFactor.secret)) == before
    assert stored(select(func.count()).select_from(RecoveryCode)) == [(10,)]


def test_removing_takes_the_recovery_codes_along(alice, two, client, stored):
    answer = alice.delete("/auth/totp")
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored(FACTOR) == stored(select(RecoveryCode.code_hash)) == []
    assert_problem(alice.get("/auth/totp"), 404, "not_found")
    login = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    assert login.status_code == 200
    assert events(stored) == ["second_factor_enabled", "second_factor_removed"]


def test_removing_one_that_was_never_in_force_is_no_event(alice, stored):
    alice.post("/auth/totp")
    assert alice.delete("/auth/totp").status_code == 204
    assert events(stored) == []


@pytest.mark.parametrize("call", ["post", "delete"])
def test_enrolling_and_removing_need_the_password_anew(alice, client, stored, call):
    bearer = {"Authorization": f"Bearer {alice.refresh_token}"}
    alice.access_token = client.post("/api/v1/auth/refresh", headers=bearer).json["access_token"]
    assert_problem(getattr(alice, call)("/auth/totp"), 401, "fresh_token_required")
    assert stored(FACTOR) == []


def test_a_personal_token_knows_nothing_of_second_factors(alice, totp, stored):
    asked = {"name": "script", "scopes": ["account:read", "tasks:write"]}
    alice.access_token = alice.post("/auth/tokens", asked).json["token"]
    for answer in (
        alice.get("/auth/totp"),
        alice.post("/auth/totp"),
        alice.delete("/auth/totp"),
        alice.post("/auth/totp/confirm", {"code": "123456"}),
    ):
        assert_problem(answer, 401, "wrong_token_type")
    assert len(stored(FACTOR)) == 1


def test_one_account_does_not_touch_the_second_factor_of_another(alice, bob, totp, stored):
    assert_problem(bob.get("/auth/totp"), 404, "not_found")
    assert_problem(bob.delete("/auth/totp"), 404, "not_found")
    bob.enable_second_factor()
    assert bob.delete("/auth/totp").status_code == 204
    assert stored(select(SecondFactor.user_id)) == [(alice.id,)]
    assert set(stored(select(RecoveryCode.user_id))) == {(alice.id,)}


def test_an_account_takes_its_second_factor_along(alice, bob, stored):
    for account in (alice, bob):
        account.enable_second_factor()
    assert alice.delete("/auth/me").status_code == 204
    assert stored(select(SecondFactor.user_id)) == [(bob.id,)]
    assert set(stored(select(RecoveryCode.user_id))) == {(bob.id,)}


def test_neither_secrets_nor_recovery_codes_are_stored_as_they_came(app, alice, two, stored):
    totp, recovery_codes = two
    [(sealed,)] = stored(select(SecondFactor.secret))
    raw = TOTP(totp.secret).byte_secret()
    assert totp.secret.encode() not in sealed
    assert raw not in sealed
    hashes = b"".join(kept for (kept,) in stored(select(RecoveryCode.code_hash)))
    assert len(hashes) == 320
    for code in recovery_codes:
        assert code.encode() not in hashes
        assert code.replace("-", "").encode() not in hashes
    with app.app_context():
        assert codes.find_time_step(totp.now(), sealed, alice.id) == totp.timecode(START)
        # Sealed for one account and under one key, it opens for no other.
        assert codes.find_time_step(totp.now(), sealed, alice.id + 1) is None
        assert codes.encrypt_secret(totp.secret, alice.id) != sealed


def test_under_another_secret_key_only_recovery_codes_are_good(
    app, clock, alice, two, client, challenge, complete, monkeypatch
):
    totp, recovery_codes = two
    clock.shift(STEP)
    monkeypatch.setitem(app.config, "SECRET_KEY", "another secret of no fewer than 32 bytes")
    assert_problem(complete(challenge(), totp.now()), 401, "invalid_credentials")
    assert complete(challenge(), recovery_codes[0]).status_code == 200


def test_parallel_enrolments_and_confirmations_make_one_second_factor(app, alice, stored):
    start = Barrier(8)
    path = "/api/v1/auth/totp"
    headers = {"Authorization": f"Bearer {alice.access_token}"}

    def enrol(_):
        start.wait()
        return app.test_client().post(path, headers=headers)

    def confirm(code):
        start.wait()
        return app.test_client().post(f"{path}/confirm", headers=headers, json={"code": code})

    with ThreadPoolExecutor(8) as pool:
        enrolled = list(pool.map(enrol, range(8)))
    assert {answer.status_code for answer in enrolled} == {201}
    made = [TOTP(answer.json["secret"]).now() for answer in enrolled]
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(confirm, made))
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 422}
    assert len(stored(FACTOR)) == 1
    assert stored(select(func.count()).select_from(RecoveryCode)) == [(10,)]
