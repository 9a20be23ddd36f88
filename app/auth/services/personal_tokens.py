"""Personal access tokens, which scripts use instead of a session."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, select, update

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import permissions
from app.auth.models import Actor, PersonalToken, Scope, User, sort_scopes
from app.auth.passwords import hash_token
from app.db.compiled import CompiledSelect
from app.db.engine import for_update
from app.db.pagination import KeysetPaginator, Page
from app.db.transactions import commit
from app.errors import (
    AccountDisabled,
    Conflict,
    InvalidToken,
    NotFound,
    TokenExpired,
    ValidationFailed,
)
from app.extensions import db

PREFIX = "tap_"
MAX_TOKENS = 100
# ``last_used_at`` is written at most this often.
LAST_USED_PRECISION = timedelta(minutes=1)

# Runs for every request of a script, hence not by the ORM.
TOKEN_QUERY = CompiledSelect(
    select(
        PersonalToken.id,
        PersonalToken.user_id,
        PersonalToken.scopes,
        PersonalToken.expires_at,
        PersonalToken.last_used_at,
        permissions.effective_role,
        permissions.NOTIFIED_ON_CREATE,
        User.time_zone,
        User.disabled_at,
    )
    .join(PersonalToken.user)
    .where(PersonalToken.token_hash == bindparam("token_hash"))
)
TOKENS = KeysetPaginator(
    name="tokens",
    columns=(
        PersonalToken.id,
        PersonalToken.name,
        PersonalToken.scopes,
        PersonalToken.created_at,
        PersonalToken.expires_at,
        PersonalToken.last_used_at,
    ),
    row_id=PersonalToken.id,
    scope=permissions.owns_token(bindparam("user_id")),
    sorts={"created_at": PersonalToken.created_at},
)


def authenticate(token: str, *, admins_require_mfa: bool) -> Actor:
    """Return the actor of a token. Raises InvalidToken, TokenExpired or AccountDisabled."""
    row = TOKEN_QUERY.first(
        {"token_hash": hash_token(token), "admins_require_mfa": admins_require_mfa}
    )
    if row is None:
        raise InvalidToken
    token_id, user_id, scopes, expires_at, last_used_at, *user = row
    role, notified_on_create, time_zone, disabled_at = user
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise TokenExpired
    if disabled_at is not None:
        raise AccountDisabled
    if last_used_at is None or now - last_used_at >= LAST_USED_PRECISION:
        use = update(PersonalToken).where(PersonalToken.id == token_id).values(last_used_at=now)
        db.session.execute(use)
        commit()
    return Actor(
        user_id,
        role,
        time_zone,
        token_type="personal",  # noqa: S106  # a type, not a secret
        scopes=frozenset(scopes),
        notified_on_create=notified_on_create,
    )


def create_token(
    actor: Actor, *, name: str, scopes: Iterable[Scope], expires_at: datetime | None
) -> tuple[PersonalToken, str]:
    """Create a token for the actor's user, and return it with its text, which is not stored.

    Raises ValidationFailed if it would have expired already, Conflict if there are too many.
    """
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed([{"pointer": "/expires_at", "detail": "Must be in the future."}])
    # Locked, so that concurrent requests count in turn.
    owner = select(User.id).where(User.id == actor.id)
    db.session.execute(for_update(owner, key_share=True))
    count = db.session.scalar(select(func.count()).where(permissions.owns_token(actor.id)))
    if (count or 0) >= MAX_TOKENS:
        raise Conflict(f"There are {MAX_TOKENS} tokens already; delete one first.")
    token = PREFIX + secrets.token_urlsafe(32)
    personal_token = PersonalToken(
        user_id=actor.id,
        name=name,
        token_hash=hash_token(token),
        scopes=sort_scopes(scopes),
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(personal_token)
    db.session.flush()
    audit.record_own(Event.personal_token_created, actor.id, token_id=personal_token.id)
    return commit((personal_token, token))


def list_tokens(actor: Actor, *, limit: int, cursor: str | None) -> Page:
    """Return a page of the actor's tokens, newest first."""
    return TOKENS.page(
        values={"user_id": actor.id},
        sort="-created_at",
        limit=limit,
        cursor=cursor,
        context=actor.id,
    )


def get_token(actor: Actor, token_id: int) -> PersonalToken:
    """Return a token of the actor. Raises NotFound."""
    is_own = (PersonalToken.id == token_id, permissions.owns_token(actor.id))
    personal_token = db.session.scalar(select(PersonalToken).where(*is_own))
    if personal_token is None:
        raise NotFound
    return personal_token


def delete_token(actor: Actor, token_id: int) -> None:
    """Delete a token of the actor. Raises NotFound."""
    is_own = (PersonalToken.id == token_id, permissions.owns_token(actor.id))
    statement = delete(PersonalToken).where(*is_own).returning(PersonalToken.id)
    if db.session.scalar(statement) is None:
        raise NotFound
    audit.record_own(Event.personal_token_deleted, actor.id, token_id=token_id)
    commit()
