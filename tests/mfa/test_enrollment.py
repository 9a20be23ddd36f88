"""Enrollment, confirmation and removal of the second factor."""

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
FACTORS = select(SecondFactor.confirmed_at, SecondFactor.last_step)


def events(stored):
    return [event for (event,) in stored(EVENTS) if event.startswith(("second", "recovery"))]


def test_enrollment_returns_secret_and_otpauth_uri(alice):
    response = alice.post("/auth/totp")
    assert response.status_code == 201
    assert set(response.json) == {"secret", "otpauth_uri"}
    secret = response.json["secret"]
    assert re.fullmatch(r"[A-Z2-7]{32}", secret)
    scanned = parse_uri(response.json["otpauth_uri"])
    assert (scanned.secret, scanned.name, scanned.issuer) == (secret, "alice", "Task API")
    assert scanned.now() == TOTP(secret).now()
    parts = urlsplit(response.json["otpauth_uri"])
    assert (parts.scheme, parts.netloc, unquote(parts.path)) == (
        "otpauth",
        "totp",
        "/Task API:alice",
    )
    assert parse_qs(parts.query) == {"secret": [secret], "issuer": ["Task API"]}
    assert response.headers["Cache-Control"] == "no-store"


def test_status_does_not_show_secret(alice):
    assert_problem(alice.get("/auth/totp"), 404, "not_found")
    location = alice.post("/auth/totp").headers["Location"]
    assert location == "http://127.0.0.1:5000/api/v1/auth/totp"
    response = alice.get("/auth/totp")
    assert response.status_code == 200
    assert response.json == {"confirmed": False, "recovery_codes_left": 0}


def test_unconfirmed_enrollment_has_no_effect(alice, client, stored):
    alice.post("/auth/totp")
    response = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    assert response.status_code == 200
    assert stored(FACTORS) == [(None, None)]
    assert events(stored) == []


def test_repeated_enrollment_replaces_unconfirmed_secret(alice, stored):
    first, second = (TOTP(alice.post("/auth/totp").json["secret"]) for _ in range(2))
    assert first.secret != second.secret
    response = alice.post("/auth/totp/confirm", {"code": first.now()})
    assert pointers(response) == {"/code"}
    assert alice.post("/auth/totp/confirm", {"code": second.now()}).status_code == 200


def test_confirmation_returns_ten_recovery_codes(alice, stored):
    totp = TOTP(alice.post("/auth/totp").json["secret"])
    response = alice.post("/auth/totp/confirm", {"code": totp.now()})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.json) == {"recovery_codes"}
    recovery_codes = response.json["recovery_codes"]
    assert len(set(recovery_codes)) == 10
    assert all(re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){5}", code) for code in recovery_codes)
    assert alice.get("/auth/totp").json == {"confirmed": True, "recovery_codes_left": 10}
    assert stored(FACTORS) == [(START, totp.timecode(START))]
    assert events(stored) == ["second_factor_enabled"]


@pytest.mark.parametrize("steps", [-1, 0, 1])
@pytest.mark.parametrize("typed", ["{}{}", " {} {} ", "{}-{}"])
def test_code_of_adjacent_step_confirms(alice, stored, steps, typed):
    totp = TOTP(alice.post("/auth/totp").json["secret"])
    code = totp.at(START, counter_offset=steps)
    typed = typed.format(code[:3], code[3:])
    assert alice.post("/auth/totp/confirm", {"code": typed}).status_code == 200
    assert stored(FACTORS) == [(START, totp.timecode(START) + steps)]


@pytest.mark.parametrize("steps", [-2, 2])
def test_code_of_distant_step_does_not_confirm(alice, stored, steps):
    totp = TOTP(alice.post("/auth/totp").json["secret"])
    code = totp.at(START, counter_offset=steps)
    assert pointers(alice.post("/auth/totp/confirm", {"code": code})) == {"/code"}
    assert stored(FACTORS) == [(None, None)]
    assert stored(select(RecoveryCode.code_hash)) == []
    assert events(stored) == []


@pytest.mark.parametrize(
    "code", ["", " ", "12345", "1234567", "x" * 65, "\uff11" * 6, None, 123456]
)
def test_malformed_code_is_rejected(alice, stored, code):
    alice.post("/auth/totp")
    assert pointers(alice.post("/auth/totp/confirm", {"code": code})) == {"/code"}
    assert stored(FACTORS) == [(None, None)]


def test_confirmation_and_removal_require_enrollment(alice, stored):
    assert_problem(alice.post("/auth/totp/confirm", {"code": "123456"}), 404, "not_found")
    assert_problem(alice.delete("/auth/totp"), 404, "not_found")
    assert stored(FACTORS) == []


def test_confirmed_second_factor_is_not_replaced(clock, alice, totp, stored):
    before = stored(select(SecondFactor.secret))
    assert_problem(alice.post("/auth/totp"), 409, "conflict")
    clock.shift(STEP)
    response = alice.post("/auth/totp/confirm", {"code": totp.now()})
    assert_problem(response, 409, "conflict")
    assert stored(select(SecondFactor.secret)) == before
    assert stored(select(func.count()).select_from(RecoveryCode)) == [(10,)]


def test_removal_deletes_recovery_codes(alice, second_factor, client, stored):
    response = alice.delete("/auth/totp")
    assert (response.status_code, response.data) == (204, b"")
    assert stored(FACTORS) == stored(select(RecoveryCode.code_hash)) == []
    assert_problem(alice.get("/auth/totp"), 404, "not_found")
    login = client.post(LOGIN, json={"username": "alice", "password": PASSWORD})
    assert login.status_code == 200
    assert events(stored) == ["second_factor_enabled", "second_factor_removed"]


def test_removal_of_unconfirmed_factor_records_no_event(alice, stored):
    alice.post("/auth/totp")
    assert alice.delete("/auth/totp").status_code == 204
    assert events(stored) == []


@pytest.mark.parametrize("call", ["post", "delete"])
def test_enrollment_and_removal_require_fresh_token(alice, client, stored, call):
    bearer = {"Authorization": f"Bearer {alice.refresh_token}"}
    alice.access_token = client.post("/api/v1/auth/refresh", headers=bearer).json["access_token"]
    assert_problem(getattr(alice, call)("/auth/totp"), 401, "fresh_token_required")
    assert stored(FACTORS) == []


def test_personal_token_is_rejected(alice, totp, stored):
    payload = {"name": "script", "scopes": ["account:read", "tasks:write"]}
    alice.access_token = alice.post("/auth/tokens", payload).json["token"]
    for response in (
        alice.get("/auth/totp"),
        alice.post("/auth/totp"),
        alice.delete("/auth/totp"),
        alice.post("/auth/totp/confirm", {"code": "123456"}),
    ):
        assert_problem(response, 401, "wrong_token_type")
    assert len(stored(FACTORS)) == 1


def test_second_factor_of_another_user_is_not_accessible(alice, bob, totp, stored):
    assert_problem(bob.get("/auth/totp"), 404, "not_found")
    assert_problem(bob.delete("/auth/totp"), 404, "not_found")
    bob.enable_second_factor()
    assert bob.delete("/auth/totp").status_code == 204
    assert stored(select(SecondFactor.user_id)) == [(alice.id,)]
    assert set(stored(select(RecoveryCode.user_id))) == {(alice.id,)}


def test_user_deletion_deletes_second_factor(alice, bob, stored):
    for account in (alice, bob):
        account.enable_second_factor()
    assert alice.delete("/auth/me").status_code == 204
    assert stored(select(SecondFactor.user_id)) == [(bob.id,)]
    assert set(stored(select(RecoveryCode.user_id))) == {(bob.id,)}


def test_secret_is_encrypted_and_recovery_codes_are_hashed(app, alice, second_factor, stored):
    totp, recovery_codes = second_factor
    [(encrypted,)] = stored(select(SecondFactor.secret))
    raw = TOTP(totp.secret).byte_secret()
    assert totp.secret.encode() not in encrypted
    assert raw not in encrypted
    hashes = b"".join(code_hash for (code_hash,) in stored(select(RecoveryCode.code_hash)))
    assert len(hashes) == 320
    for code in recovery_codes:
        assert code.encode() not in hashes
        assert code.replace("-", "").encode() not in hashes
    with app.app_context():
        assert codes.find_time_step(totp.now(), encrypted, alice.id) == totp.timecode(START)
        # The ciphertext is bound to its user, and encryption is randomized.
        assert codes.find_time_step(totp.now(), encrypted, alice.id + 1) is None
        assert codes.encrypt_secret(totp.secret, alice.id) != encrypted


def test_recovery_codes_survive_change_of_secret_key(
    app, clock, alice, second_factor, client, challenge, complete, monkeypatch
):
    totp, recovery_codes = second_factor
    clock.shift(STEP)
    monkeypatch.setitem(app.config, "SECRET_KEY", "another secret of no fewer than 32 bytes")
    assert_problem(complete(challenge(), totp.now()), 401, "invalid_credentials")
    assert complete(challenge(), recovery_codes[0]).status_code == 200


def test_concurrent_enrollments_and_confirmations_create_one_factor(app, alice, stored):
    start = Barrier(8)
    path = "/api/v1/auth/totp"
    headers = {"Authorization": f"Bearer {alice.access_token}"}

    def enroll(_):
        start.wait()
        return app.test_client().post(path, headers=headers)

    def confirm(code):
        start.wait()
        return app.test_client().post(f"{path}/confirm", headers=headers, json={"code": code})

    with ThreadPoolExecutor(8) as pool:
        enrollments = list(pool.map(enroll, range(8)))
    assert {response.status_code for response in enrollments} == {201}
    totp_codes = [TOTP(response.json["secret"]).now() for response in enrollments]
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(response.status_code for response in pool.map(confirm, totp_codes))
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 422}
    assert len(stored(FACTORS)) == 1
    assert stored(select(func.count()).select_from(RecoveryCode)) == [(10,)]
