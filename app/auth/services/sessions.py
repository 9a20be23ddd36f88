"""Sessions and their refresh tokens."""

import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, delete, select
from sqlalchemy.orm import joinedload

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import jwt, permissions
from app.auth.jwt import Claims
from app.auth.models import Actor, Session, User
from app.auth.services.account import get_account
from app.db.compiled import CompiledSelect
from app.db.engine import for_update
from app.db.pagination import KeysetPaginator, Page
from app.db.transactions import commit, delete_expired
from app.errors import AccountDisabled, NotFound, TokenReused, TokenRevoked
from app.extensions import db, limiter
from app.rate_limiter import RateLimit
from app.request_context import request_context

# How long a client that did not get the response may retry with the same refresh token.
REFRESH_GRACE = timedelta(seconds=10)

# Runs for nearly every request, hence not by the ORM.
SESSION_QUERY = CompiledSelect(
    select(
        Session.user_id,
        Session.expires_at,
        permissions.effective_role,
        permissions.NOTIFIED_ON_CREATE,
        User.time_zone,
        User.disabled_at,
    )
    .join(Session.user)
    .where(Session.id == bindparam("session_id"))
)
SESSIONS = KeysetPaginator(
    name="sessions",
    columns=(
        Session.id,
        Session.created_at,
        Session.last_used_at,
        Session.expires_at,
        Session.ip_address,
        Session.user_agent,
        (Session.id == bindparam("current_id")).label("current"),
    ),
    row_id=Session.id,
    scope=and_(
        permissions.owns_session(bindparam("user_id")),
        permissions.is_live_session(bindparam("now"), bindparam("idle_since")),
    ),
    sorts={"created_at": Session.created_at},
)


def authenticate(claims: Claims, *, admins_require_mfa: bool) -> Actor:
    """Return the actor of a token.

    Raises TokenRevoked if its session has ended, AccountDisabled if its user is disabled.
    """
    row = SESSION_QUERY.first(
        {"session_id": claims.session_id, "admins_require_mfa": admins_require_mfa}
    )
    if row is None:
        raise TokenRevoked
    user_id, expires_at, role, notified_on_create, time_zone, disabled_at = row
    if user_id != claims.user_id or expires_at <= clock.now():
        raise TokenRevoked
    if disabled_at is not None:
        raise AccountDisabled
    return Actor(
        user_id,
        role,
        time_zone,
        claims.session_id,
        claims.fresh,
        claims.type,
        notified_on_create=notified_on_create,
    )


def create_session(user: User) -> dict[str, Any]:
    """Create a session for an authenticated user; the caller commits.

    Return what logins respond: its tokens, and the user.
    """
    now, context = clock.now(), request_context()
    session = Session(
        id=secrets.token_hex(16),
        user_id=user.id,
        refresh_id=secrets.token_hex(16),
        refreshed_at=now,
        refreshed_before=now,
        ip_address=context.ip_address,
        user_agent=context.user_agent,
        created_at=now,
        last_used_at=now,
        expires_at=now + jwt.session_lifetime(),
    )
    db.session.add(session)
    audit.record_own(Event.login_succeeded, user.id, session_id=session.id)
    return {**jwt.create_token_pair(session, fresh=True, now=now), "user": user}


def refresh(claims: Claims) -> dict[str, Any]:
    """Exchange a refresh token for a new pair of tokens.

    A used token is accepted again for REFRESH_GRACE. After that it counts as stolen and ends its
    session (RFC 9700, 4.14.2). Raises TokenRevoked, TokenReused or AccountDisabled.
    """
    session = _lock_session(claims)
    now = clock.now()
    if session is None or session.expires_at <= now:
        raise TokenRevoked
    if session.user.disabled:
        raise AccountDisabled
    limiter.count_attempt(RateLimit.refresh_account, "refresh", session.user_id)
    if claims.token_id == session.refresh_id:
        session.spent_id = session.refresh_id
        session.refreshed_before, session.refreshed_at = session.refreshed_at, now
    elif now - _used_at(session, claims) > REFRESH_GRACE:
        db.session.delete(session)
        audit.record(
            Event.token_reused, user_id=session.user_id, actor_id=None, session_id=session.id
        )
        commit()
        raise TokenReused
    elif claims.token_id != session.spent_id:
        raise TokenReused
    session.refresh_id = secrets.token_hex(16)
    session.last_used_at = now
    return commit(jwt.create_token_pair(session, fresh=False, now=now))


def list_sessions(actor: Actor, *, limit: int, cursor: str | None) -> Page:
    """Return a page of the actor's sessions, newest first."""
    now = clock.now()
    ends = {"now": now, "idle_since": now - jwt.idle_lifetime()}
    return SESSIONS.page(
        values={"user_id": actor.id, "current_id": actor.session_id, **ends},
        sort="-created_at",
        limit=limit,
        cursor=cursor,
        context=actor.id,
    )


def end_session(actor: Actor, session_id: str) -> None:
    """End a session of the actor. Raises NotFound."""
    is_own = (Session.id == session_id, permissions.owns_session(actor.id))
    if db.session.scalar(delete(Session).where(*is_own).returning(Session.id)) is None:
        raise NotFound
    audit.record_own(Event.session_ended, actor.id, session_id=session_id)
    commit()


def end_other_sessions(actor: Actor) -> None:
    """End all sessions of the actor except the current one."""
    get_account(actor, lock=True)
    delete_other_sessions(actor)
    audit.record_own(Event.other_sessions_ended, actor.id)
    commit()


def delete_other_sessions(actor: Actor) -> None:
    """Delete all sessions of the actor except the current one; the caller commits."""
    is_other = (permissions.owns_session(actor.id), Session.id != actor.session_id)
    db.session.execute(delete(Session).where(*is_other))


def purge_sessions() -> int:
    """Delete the sessions that have ended, and return their number."""
    now = clock.now()
    idle = delete_expired(Session.refreshed_at, now - jwt.idle_lifetime())
    return idle + delete_expired(Session.expires_at, now)


def _lock_session(claims: Claims) -> Session | None:
    """Return the session of a token, locked, with its user."""
    statement = (
        select(Session)
        .options(joinedload(Session.user, innerjoin=True))
        .where(Session.id == claims.session_id, Session.user_id == claims.user_id)
    )
    return db.session.scalar(for_update(statement, of=Session))


def _used_at(session: Session, claims: Claims) -> datetime:
    """Return the latest time at which a token that is no longer valid was used or replaced."""
    replaced_unused = claims.issued_at >= int(session.refreshed_at.timestamp())
    if claims.token_id == session.spent_id or replaced_unused:
        return session.refreshed_at
    return session.refreshed_before
