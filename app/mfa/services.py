"""Enrollment in multi-factor authentication, and logins that require it."""

from datetime import timedelta
from math import ceil
from typing import Any

from pyotp import random_base32
from sqlalchemy import RowMapping, delete, func, select
from sqlalchemy.orm import joinedload

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import mfa_challenges
from app.auth.models import Actor, RecoveryCode, SecondFactor, User
from app.auth.services.account import get_account
from app.auth.services.sessions import create_session
from app.db.engine import for_update
from app.db.transactions import commit
from app.errors import (
    AccountDisabled,
    Conflict,
    InvalidCredentials,
    NotFound,
    RateLimited,
    ValidationFailed,
)
from app.extensions import db, limiter
from app.mfa import codes
from app.rate_limiter import RateLimit

# After this many wrong codes in a row, each further one locks the second factor.
MAX_WRONG_CODES = 5
LOCKOUT = timedelta(minutes=15)


def enroll(actor: Actor) -> dict[str, str]:
    """Create a second factor for the actor, in place of one that is not confirmed.

    Return its secret, and the secret's URI.
    Raises Conflict if there is a confirmed one.
    """
    user = get_account(actor, lock=True)
    factor = db.session.get(SecondFactor, actor.id)
    if factor is None:
        factor = SecondFactor(user_id=actor.id, wrong_codes=0)
        db.session.add(factor)
    elif factor.confirmed_at is not None:
        raise Conflict("There is a second factor already; remove it first.")
    secret = random_base32()
    factor.secret = codes.encrypt_secret(secret, actor.id)
    factor.created_at = clock.now()
    uri = codes.provisioning_uri(secret, user.username)
    return commit({"secret": secret, "otpauth_uri": uri})


def confirm(actor: Actor, *, code: str) -> list[str]:
    """Confirm the actor's second factor by its first code, and return its recovery codes.

    Raises NotFound, Conflict if it is confirmed already, ValidationFailed for a wrong code.
    """
    factor = _get_own(actor)
    if factor.confirmed_at is not None:
        raise Conflict("The second factor is confirmed already.")
    step = codes.find_time_step(codes.normalize(code), factor.secret, actor.id)
    if step is None:
        raise ValidationFailed([{"pointer": "/code", "detail": "Not the current code."}])
    now = clock.now()
    factor.last_step, factor.confirmed_at = step, now
    recovery_codes = codes.create_recovery_codes()
    hashes = map(codes.hash_recovery_code, recovery_codes)
    db.session.add_all(
        RecoveryCode(user_id=actor.id, code_hash=code_hash, created_at=now) for code_hash in hashes
    )
    audit.record_own(Event.second_factor_enabled, actor.id)
    return commit(recovery_codes)


def get_status(actor: Actor) -> RowMapping:
    """Return whether the actor's second factor is confirmed, and the number of codes left.

    Raises NotFound.
    """
    codes_left = select(func.count()).where(RecoveryCode.user_id == SecondFactor.user_id)
    statement = select(
        SecondFactor.confirmed_at.is_not(None).label("confirmed"),
        codes_left.scalar_subquery().label("recovery_codes_left"),
    )
    row = db.session.execute(statement.where(SecondFactor.user_id == actor.id)).mappings().first()
    if row is None:
        raise NotFound
    return row


def remove(actor: Actor) -> None:
    """Remove the actor's second factor and its recovery codes. Raises NotFound."""
    factor = _get_own(actor)
    db.session.delete(factor)
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == actor.id))
    if factor.confirmed_at is not None:
        audit.record_own(Event.second_factor_removed, actor.id)
    commit()


def complete_login(*, challenge: str, code: str) -> dict[str, Any]:
    """Create a session for a user whose password was verified, and now the second factor.

    Raises InvalidCredentials, AccountDisabled, or RateLimited after too many wrong codes.
    """
    verified = mfa_challenges.read_challenge(challenge)
    limiter.count_attempt(RateLimit.login_account, "second factor", verified.user_id)
    factor = _lock(verified.user_id)
    if factor is None or factor.confirmed_at is None or not verified.is_valid_for(factor.user):
        raise InvalidCredentials(mfa_challenges.INVALID_CHALLENGE)
    if factor.user.disabled:
        raise AccountDisabled
    now = clock.now()
    if factor.locked_until is not None and factor.locked_until > now:
        raise RateLimited(ceil((factor.locked_until - now).total_seconds()))
    if not _verify_code(factor, codes.normalize(code)):
        audit.record_own(Event.second_factor_failed, factor.user_id)
        commit()
        raise InvalidCredentials("The code is wrong or was used before.")
    return commit(create_session(factor.user))


def _get_own(actor: Actor) -> SecondFactor:
    factor = _lock(actor.id)
    if factor is None:
        raise NotFound
    return factor


def _lock(user_id: int) -> SecondFactor | None:
    """Return a second factor with its user, who is locked, so that codes are verified in turn."""
    db.session.execute(for_update(select(User.id).where(User.id == user_id)))
    statement = (
        select(SecondFactor)
        .options(joinedload(SecondFactor.user, innerjoin=True))
        .where(SecondFactor.user_id == user_id)
    )
    return db.session.scalar(statement)


def _verify_code(factor: SecondFactor, code: str) -> bool:
    """Use a code if it is valid, otherwise count it as wrong."""
    if _consume_totp(factor, code) if codes.is_totp(code) else _consume_recovery(factor, code):
        factor.wrong_codes, factor.locked_until = 0, None
        return True
    factor.wrong_codes += 1
    if factor.wrong_codes >= MAX_WRONG_CODES:
        factor.locked_until = clock.now() + LOCKOUT
    return False


def _consume_totp(factor: SecondFactor, code: str) -> bool:
    step = codes.find_time_step(code, factor.secret, factor.user_id)
    if step is None or step <= (factor.last_step or 0):
        return False
    factor.last_step = step
    return True


def _consume_recovery(factor: SecondFactor, code: str) -> bool:
    is_valid = (
        RecoveryCode.user_id == factor.user_id,
        RecoveryCode.code_hash == codes.hash_recovery_code(code),
    )
    statement = delete(RecoveryCode).where(*is_valid).returning(RecoveryCode.user_id)
    if db.session.scalar(statement) is None:
        return False
    audit.record_own(Event.recovery_code_used, factor.user_id)
    return True
