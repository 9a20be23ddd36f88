"""Login and reauthentication by password, and change of passwords."""

from typing import Any

from sqlalchemy import delete, select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import email_tokens, emails, jwt, mfa_challenges, passwords, permissions
from app.auth.emails import SecurityNotice
from app.auth.models import Actor, PersonalToken, Session, User, identity_key
from app.auth.services.account import get_account
from app.auth.services.sessions import create_session, delete_other_sessions
from app.db.engine import for_update
from app.db.transactions import commit
from app.errors import AccountDisabled, InvalidCredentials, SecondFactorRequired
from app.extensions import db, limiter
from app.rate_limiter import RateLimit


def log_in(
    *, username: str | None = None, email: str | None = None, password: str
) -> dict[str, Any]:
    """Create a session, and return its tokens and user.

    Raises InvalidCredentials, after the same time for an unknown user and for a wrong password.
    Raises AccountDisabled or SecondFactorRequired only after the right password.
    """
    column = User.email_key if username is None else User.username_key
    key = identity_key(username or email or "")
    user = db.session.scalar(select(User).where(column == key))
    limiter.count_attempt(RateLimit.login_account, "login", user.id if user else key)
    verified = passwords.verify(password, user.password_hash if user else None)
    if user is None or not verified:
        audit.record_own(Event.login_failed, user.id if user else None)
        commit()
        raise InvalidCredentials
    if user.disabled:
        raise AccountDisabled
    has_second_factor = lock_and_recheck(user)
    if passwords.needs_rehash(user.password_hash):
        user.password_hash = passwords.hash_password(password)
    if has_second_factor:
        commit()
        raise SecondFactorRequired(mfa_challenges.create_challenge(user))
    return commit(create_session(user))


def reauthenticate(actor: Actor, *, password: str) -> dict[str, Any]:
    """Return a fresh access token for the same session. Raises InvalidCredentials."""
    verify_password(get_account(actor), password)
    return jwt.create_session_access_token(actor.id, actor.session_id, fresh=True)


def change_password(actor: Actor, *, current_password: str, new_password: str) -> None:
    """Set a new password and end all other sessions.

    Raises InvalidCredentials if the current password is wrong, ValidationFailed if the new one is
    weak.
    """
    user = get_account(actor)
    verify_password(user, current_password)
    new_hash = passwords.hash_new_password(new_password, user.username, user.email)
    lock_and_recheck(user)
    user.password_hash = new_hash
    user.updated_at = clock.now()
    delete_other_sessions(actor)
    email_tokens.revoke(user)
    emails.send_notice(user, SecurityNotice.password_changed)
    audit.record_own(Event.password_changed, user.id)
    commit()


def replace_password(user: User, new_password: str, *, actor_id: int | None) -> None:
    """Set a new password without the current one, and end all sessions; the caller commits.

    Personal access tokens are deleted too: someone with the old password may have created them.
    Raises ValidationFailed if the password is weak.
    """
    user.password_hash = passwords.hash_new_password(new_password, user.username, user.email)
    user.updated_at = clock.now()
    db.session.execute(delete(Session).where(Session.user_id == user.id))
    db.session.execute(delete(PersonalToken).where(PersonalToken.user_id == user.id))
    email_tokens.revoke(user)
    emails.send_notice(user, SecurityNotice.password_reset)
    audit.record(Event.password_reset, user_id=user.id, actor_id=actor_id)


def verify_password(user: User, password: str) -> None:
    """Raise InvalidCredentials if the password of a logged-in user is wrong."""
    # Counted apart from logins, so that a stranger's failures cannot block the user's session.
    limiter.count_attempt(RateLimit.login_account, "proof", user.id)
    if not passwords.verify(password, user.password_hash):
        audit.record_own(Event.reauthentication_failed, user.id)
        commit()
        raise InvalidCredentials


def lock_and_recheck(user: User) -> bool:
    """Lock a user whose password was verified, and return whether it has a second factor.

    Raises InvalidCredentials if the password was changed or the user deleted in the meantime.
    """
    statement = select(User.password_hash, permissions.HAS_SECOND_FACTOR).where(User.id == user.id)
    row = db.session.execute(for_update(statement, of=User)).first()
    if row is None or row.password_hash != user.password_hash:
        raise InvalidCredentials
    return bool(row.has_second_factor)
