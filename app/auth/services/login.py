"""Login and reauthentication by password."""

import secrets
from typing import NamedTuple

from sqlalchemy import select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import jwt, mfa_challenges, passwords
from app.auth.attempts import count_attempt
from app.auth.jwt import AccessToken, TokenPair
from app.auth.models import Actor, Session, User, identity_key
from app.auth.services.account import get_account
from app.auth.services.credentials import lock_and_recheck, verify_password
from app.db.transactions import commit
from app.errors import AccountDisabled, InvalidCredentials, SecondFactorRequired
from app.extensions import db
from app.rate_limiter import RateLimit
from app.request_context import request_context


class Login(NamedTuple):
    """The result of a login: the tokens of a new session, and its user."""

    tokens: TokenPair
    user: User


def log_in(*, username: str | None = None, email: str | None = None, password: str) -> Login:
    """Create a session.

    Raises InvalidCredentials, after the same time for an unknown user and for a wrong password.
    Raises AccountDisabled or SecondFactorRequired only after the right password.
    """
    column = User.email_key if username is None else User.username_key
    key = identity_key(username or email or "")
    user = db.session.scalar(select(User).where(column == key))
    count_attempt(RateLimit.login_account, "login", user.id if user else key)
    password = passwords.normalize(password)
    verified = passwords.verify(password, user.password_hash if user else None)
    if user is None or not verified:
        audit.record_own(Event.login_failed, user.id if user else None)
        commit()
        raise InvalidCredentials
    if user.disabled:
        raise AccountDisabled
    has_second_factor = lock_and_recheck(user)
    _rehash(user, password)
    if has_second_factor:
        commit()
        raise SecondFactorRequired(mfa_challenges.create_challenge(user))
    return commit(Login(create_session(user), user))


def create_session(user: User) -> TokenPair:
    """Create a session for an authenticated user; the caller commits."""
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
    return jwt.create_token_pair(session, fresh=True, now=now)


def reauthenticate(actor: Actor, *, password: str) -> AccessToken:
    """Return a fresh access token for the same session. Raises InvalidCredentials."""
    verify_password(get_account(actor), password)
    return jwt.create_session_access_token(actor.id, actor.session_id, fresh=True)


def _rehash(user: User, password: str) -> None:
    """Hash a verified password again if the parameters have changed."""
    if passwords.needs_rehash(user.password_hash):
        user.password_hash = passwords.hash_password(password)
