"""The rules of personal access tokens, which scripts use in place of a session."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, select, update

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import policy, second_factors
from app.auth.models import Actor, PersonalToken, Scope, User, in_order
from app.auth.schemas import PERSONAL_TOKEN
from app.errors import (
    AccountDisabled,
    Conflict,
    InvalidToken,
    NotFound,
    TokenExpired,
    ValidationFailed,
)
from app.extensions import db
from app.http.pages import Listing, Page
from app.statements import Query
from app.transactions import commit

PREFIX = "tap_"
MOST = 100
# How old what is kept of a token's last use may be.
PRECISION = timedelta(minutes=1)


class NewToken(NamedTuple):
    """A token that was just made, with its text, which is never told again."""

    held: PersonalToken
    token: str


TOKEN_AND_USER = Query(
    select(
        PersonalToken.id,
        PersonalToken.user_id,
        PersonalToken.scopes,
        PersonalToken.expires_at,
        PersonalToken.last_used_at,
        policy.ACTING_ROLE,
        policy.NOTIFIED_ON_CREATE,
        policy.TASKS_GENERATION,
        User.time_zone,
        User.disabled_at,
    )
    .join_from(PersonalToken, User)
    .where(PersonalToken.token_hash == bindparam("token_hash"))
)

TOKENS = Listing(
    name="tokens",
    schema=PERSONAL_TOKEN,
    row_id=PersonalToken.id,
    scope=PersonalToken.user_id == bindparam("user_id"),
    sorts={"created_at": PersonalToken.created_at},
    filters={},
)


def authenticate(token: str) -> Actor:
    """Return whom a token acts for. Raises InvalidToken, TokenExpired or AccountDisabled."""
    found = TOKEN_AND_USER.first(
        {"token_hash": _hash(token), "admins_need_two": second_factors.required_of_admins()}
    )
    if found is None:
        raise InvalidToken
    token_id, user_id, scopes, expires_at, last_used_at, *account = found
    role, is_notified, generation, time_zone, disabled_at = account
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise TokenExpired
    if disabled_at is not None:
        raise AccountDisabled
    if last_used_at is None or now - last_used_at >= PRECISION:
        _note_use(token_id, now)
    return Actor(
        user_id,
        role,
        time_zone,
        scopes=frozenset(scopes),
        notified_on_create=is_notified,
        tasks_generation=generation,
    )


def create_token(
    actor: Actor, *, name: str, scopes: Iterable[Scope], expires_at: datetime | None
) -> NewToken:
    """Make a token for the caller's account.

    Raises ValidationFailed for an end that is not ahead, Conflict where there are too many.
    """
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed([{"pointer": "/expires_at", "detail": "Must be in the future."}])
    _require_room(actor)
    token = PREFIX + secrets.token_urlsafe(32)
    held = PersonalToken(
        user_id=actor.id,
        name=name,
        token_hash=_hash(token),
        scopes=in_order(scopes),
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(held)
    db.session.flush()
    audit.record(
        Event.personal_token_created, user_id=actor.id, actor_id=actor.id, token_id=held.id
    )
    return commit(NewToken(held, token))


def list_tokens(actor: Actor, *, limit: int, cursor: str | None) -> Page:
    """Return the caller's tokens, the newest first."""
    return TOKENS.page(
        values={"user_id": actor.id},
        sort="-created_at",
        limit=limit,
        cursor=cursor,
        bound_to=actor.id,
    )


def get_token(actor: Actor, token_id: int) -> PersonalToken:
    """Return one of the caller's tokens. Raises NotFound."""
    mine = select(PersonalToken).where(PersonalToken.id == token_id, policy.own_token(actor))
    held = db.session.scalar(mine)
    if held is None:
        raise NotFound
    return held


def delete_token(actor: Actor, token_id: int) -> None:
    """Delete one of the caller's tokens; it is refused at once. Raises NotFound."""
    deleted = db.session.scalar(
        delete(PersonalToken)
        .where(PersonalToken.id == token_id, policy.own_token(actor))
        .returning(PersonalToken.id)
        .execution_options(synchronize_session=False)
    )
    if deleted is None:
        raise NotFound
    audit.record(
        Event.personal_token_deleted, user_id=actor.id, actor_id=actor.id, token_id=token_id
    )
    commit()


def _require_room(actor: Actor) -> None:
    """Raise Conflict where the account has as many tokens as it may; its row stays locked."""
    locked = select(User.id).where(User.id == actor.id).with_for_update()
    db.session.execute(locked.execution_options(locks_rows=True))
    count = select(func.count()).where(policy.own_token(actor))
    if (db.session.scalar(count) or 0) >= MOST:
        raise Conflict(f"There are {MOST} tokens already; delete one first.")


def _note_use(token_id: int, now: datetime) -> None:
    db.session.execute(
        update(PersonalToken)
        .where(PersonalToken.id == token_id)
        .values(last_used_at=now)
        .execution_options(synchronize_session=False)
    )
    commit()


def _hash(token: str) -> bytes:
    """What is kept of a token, which is too random to be found by trying."""
    return hashlib.sha256(token.encode()).digest()
