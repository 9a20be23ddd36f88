"""The rules of second factors."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from sqlalchemy import delete, func, insert, select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import second_factors
from app.auth import services as auth
from app.auth.models import Actor, RecoveryCode, SecondFactor, User
from app.auth.schemas import USER
from app.auth.services import Login
from app.errors import (
    AccountDisabled,
    Conflict,
    InvalidCredentials,
    NotFound,
    RateLimited,
    TokenRevoked,
    ValidationFailed,
)
from app.extensions import db
from app.http import limits
from app.http.limits import Rule
from app.second_factor import codes
from app.transactions import commit

# From so many wrong codes in a row on, each locks the second factor for so long.
MOST_WRONG = 5
LOCKED_FOR = timedelta(minutes=15)
NO_CODE = "The code is wrong, or was used before."


@dataclass(frozen=True)
class Enrolment:
    """The secret of a second factor that is not confirmed yet; it is told this once."""

    secret: str
    otpauth_uri: str


@dataclass(frozen=True)
class Standing:
    """What an account may know of its second factor."""

    confirmed: bool
    recovery_codes_left: int


def enrol(actor: Actor) -> Enrolment:
    """Make the secret of the caller's second factor, instead of one that was not confirmed.

    Raises Conflict where one is confirmed.
    """
    locked = select(User.username).where(User.id == actor.id).with_for_update()
    username = db.session.scalar(locked.execution_options(locks_rows=True))
    if username is None:
        raise TokenRevoked
    held = db.session.get(SecondFactor, actor.id)
    if held is not None and held.confirmed_at is not None:
        raise Conflict("There is a second factor already; remove it first.")
    secret = codes.new_secret()
    factor = held or SecondFactor(user_id=actor.id, wrong_codes=0)
    factor.secret = codes.seal(secret, actor.id)
    factor.created_at = clock.now()
    db.session.add(factor)
    return commit(Enrolment(secret, codes.uri(secret, username)))


def confirm(actor: Actor, *, code: str) -> list[str]:
    """Put the caller's second factor in force, and return its recovery codes.

    Raises NotFound, Conflict where it is in force, ValidationFailed for a wrong code.
    """
    found = _locked(actor.id)
    if found is None:
        raise NotFound
    _, factor = found
    if factor.confirmed_at is not None:
        raise Conflict("The second factor is confirmed already.")
    step = codes.step_of(codes.normalise(code), factor.secret, actor.id)
    if step is None:
        raise ValidationFailed([{"pointer": "/code", "detail": "Not the code of this moment."}])
    now = clock.now()
    factor.last_step, factor.confirmed_at = step, now
    made = codes.new_recovery_codes()
    kept = [
        {"user_id": actor.id, "code_hash": codes.hash_recovery_code(one), "created_at": now}
        for one in made
    ]
    db.session.execute(insert(RecoveryCode), kept)
    audit.record(Event.second_factor_enabled, user_id=actor.id, actor_id=actor.id)
    return commit(made)


def get_standing(actor: Actor) -> Standing:
    """Tell of the caller's second factor. Raises NotFound."""
    left = select(func.count()).where(RecoveryCode.user_id == SecondFactor.user_id)
    found = db.session.execute(
        select(SecondFactor.confirmed_at, left.scalar_subquery().label("left")).where(
            SecondFactor.user_id == actor.id
        )
    ).first()
    if found is None:
        raise NotFound
    return Standing(found.confirmed_at is not None, found.left)


def remove(actor: Actor) -> None:
    """Remove the caller's second factor and its recovery codes. Raises NotFound."""
    found = _locked(actor.id)
    if found is None:
        raise NotFound
    _, factor = found
    db.session.delete(factor)
    db.session.execute(
        delete(RecoveryCode)
        .where(RecoveryCode.user_id == actor.id)
        .execution_options(synchronize_session=False)
    )
    if factor.confirmed_at is not None:
        audit.record(Event.second_factor_removed, user_id=actor.id, actor_id=actor.id)
    commit()


def complete_login(*, challenge: str, code: str) -> Login:
    """Open a session for whoever has proved the password, and now the second factor.

    Raises InvalidCredentials, AccountDisabled, or RateLimited after too many wrong codes.
    """
    proved = second_factors.read_challenge(challenge)
    limits.count_account(Rule.login_account, "second factor", proved.user_id)
    found = _locked(proved.user_id)
    if found is None or found[1].confirmed_at is None or not proved.is_for(found[0]):
        raise InvalidCredentials(second_factors.NO_CHALLENGE)
    user, factor = found
    if user.disabled:
        raise AccountDisabled
    _require_unlocked(factor)
    if not _accept(factor, codes.normalise(code)):
        audit.record(Event.second_factor_failed, user_id=user.id, actor_id=user.id)
        commit()
        raise InvalidCredentials(NO_CODE)
    return commit(Login(auth.open_session(user.id), USER.from_model(user)))


def _locked(user_id: int) -> tuple[User, SecondFactor] | None:
    """Return an account and its second factor, both locked: codes are judged one by one."""
    statement = (
        select(User, SecondFactor)
        .join_from(User, SecondFactor)
        .where(User.id == user_id)
        .with_for_update()
        .execution_options(locks_rows=True)
    )
    found = db.session.execute(statement).first()
    return None if found is None else (found.User, found.SecondFactor)


def _require_unlocked(factor: SecondFactor) -> None:
    now = clock.now()
    if factor.locked_until is not None and factor.locked_until > now:
        raise RateLimited(ceil((factor.locked_until - now).total_seconds()))


def _accept(factor: SecondFactor, code: str) -> bool:
    """Spend a code if it is good; count it if it is not."""
    if _spend_timed(factor, code) if codes.is_timed(code) else _spend_recovery(factor, code):
        factor.wrong_codes, factor.locked_until = 0, None
        return True
    factor.wrong_codes += 1
    if factor.wrong_codes >= MOST_WRONG:
        factor.locked_until = clock.now() + LOCKED_FOR
    return False


def _spend_timed(factor: SecondFactor, code: str) -> bool:
    step = codes.step_of(code, factor.secret, factor.user_id)
    if step is None or step <= (factor.last_step or 0):
        return False
    factor.last_step = step
    return True


def _spend_recovery(factor: SecondFactor, code: str) -> bool:
    spent = db.session.scalar(
        delete(RecoveryCode)
        .where(
            RecoveryCode.user_id == factor.user_id,
            RecoveryCode.code_hash == codes.hash_recovery_code(code),
        )
        .returning(RecoveryCode.user_id)
        .execution_options(synchronize_session=False)
    )
    if spent is None:
        return False
    audit.record(Event.recovery_code_used, user_id=factor.user_id, actor_id=factor.user_id)
    return True
