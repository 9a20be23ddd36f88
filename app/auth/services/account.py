"""Registration, a user's own account, and rules that administration shares with it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import email_tokens, emails, passwords, permissions
from app.auth.emails import SecurityNotice
from app.auth.models import Actor, EmailTokenPurpose, Role, User, identity_key
from app.db.engine import for_update, violated_constraint
from app.db.transactions import commit
from app.errors import Conflict, FreshTokenRequired, TokenRevoked
from app.extensions import db
from app.mail.sender import can_send
from app.outbox.queue import enqueue


def register(
    *,
    username: str,
    email: str,
    password: str,
    role: Role = Role.user,
    time_zone: str = "UTC",
    by_system: bool = False,
) -> User:
    """Create a user, who registers or is created ``by_system``.

    Raises ValidationFailed for a weak password, Conflict if the username or email is taken.
    """
    now = clock.now()
    user = User(
        username=username,
        email=email,
        email_verified=False,
        role=role,
        time_zone=time_zone,
        password_hash=passwords.hash_new_password(password, username, email, pointer="/password"),
        created_at=now,
        updated_at=now,
    )
    db.session.add(user)
    flush_or_conflict()
    actor_id = None if by_system else user.id
    audit.record(Event.account_registered, user_id=user.id, actor_id=actor_id)
    emails.mail_token(user, EmailTokenPurpose.verify_email, email)
    return commit(user)


def get_account(actor: Actor, *, lock: bool = False) -> User:
    """Return the actor's user. Raises TokenRevoked if it was deleted in the meantime."""
    statement = select(User).where(User.id == actor.id)
    user: User | None = db.session.scalar(for_update(statement) if lock else statement)
    if user is None:
        raise TokenRevoked
    return user


def ensure_exists(actor: Actor) -> None:
    """Roll back, and raise TokenRevoked if the actor's user was deleted in the meantime."""
    db.session.rollback()
    get_account(actor)


def update_account(actor: Actor, changes: Mapping[str, Any]) -> User:
    """Apply ``changes`` to the actor's user.

    A new email address takes effect once it is confirmed, or at once if no email can be sent.
    Raises FreshTokenRequired for a new address with a token that is not fresh, Conflict if the
    username or address is taken.
    """
    if "email" in changes and not actor.fresh:
        raise FreshTokenRequired
    user = get_account(actor, lock=True)
    changed = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if "email" in changed and can_send():
        _request_email_change(user, changed.pop("email"))
    elif "email" in changed:
        user.email_verified = False
        email_tokens.revoke(user)
    for name, value in changed.items():
        setattr(user, name, value)
    if changed:
        user.updated_at = clock.now()
        flush_or_conflict()
        audit.record_own(Event.account_changed, user.id, fields=sorted(changed))
    if "time_zone" in changed:
        enqueue("time_zone_changed", user_id=user.id)
    return commit(user)


def delete_account(actor: Actor) -> None:
    """Delete the actor's user with all its data. Raises Conflict for the last administrator."""
    if not remove_user(actor.id, actor_id=actor.id):
        raise TokenRevoked
    commit()


def remove_user(user_id: int, *, actor_id: int | None) -> bool:
    """Delete a user with all its data, and return whether it existed; the caller commits.

    Raises Conflict for the last administrator.
    """
    ensure_not_last_admin(user_id)
    if db.session.scalar(delete(User).where(User.id == user_id).returning(User.id)) is None:
        return False
    audit.record(Event.account_deleted, user_id=user_id, actor_id=actor_id)
    return True


def ensure_not_last_admin(user_id: int) -> None:
    """Raise Conflict if no other user is an administrator that is not disabled.

    The rows of the administrators stay locked until the caller commits.
    """
    statement = select(User.id).where(permissions.IS_ACTIVE_ADMIN).order_by(User.id)
    if set(db.session.scalars(for_update(statement))) == {user_id}:
        raise Conflict("The last administrator can't be removed.")


def flush_or_conflict() -> None:
    """Flush the session. Raises Conflict, with the field, if a username or address is taken."""
    try:
        db.session.flush()
    except IntegrityError as error:
        db.session.rollback()
        fields = {"uq_users_username_key": "username", "uq_users_email_key": "email"}
        field = fields.get(violated_constraint(error) or "")
        if field is None:
            raise
        raise Conflict(f"The {field} is taken.", field=field) from None


def _request_email_change(user: User, email: str) -> None:
    """Send a token to the new address and a notice to the old one."""
    taken = select(User.id).where(User.email_key == identity_key(email), User.id != user.id)
    if db.session.scalar(taken) is not None:
        raise Conflict("The email is taken.", field="email")
    emails.mail_token(user, EmailTokenPurpose.change_email, email)
    emails.send_notice(user, SecurityNotice.email_change_requested)
    audit.record_own(Event.email_change_requested, user.id)
