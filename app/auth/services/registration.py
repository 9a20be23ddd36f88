"""Registration of users."""

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import emails
from app.auth.models import EmailTokenPurpose, Role, User
from app.auth.services.account import flush_or_conflict
from app.auth.services.credentials import hash_new_password
from app.db.transactions import commit
from app.extensions import db


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
        created_at=now,
        updated_at=now,
    )
    user.password_hash = hash_new_password(password, user, "/password")
    db.session.add(user)
    flush_or_conflict()
    actor_id = None if by_system else user.id
    audit.record(Event.account_registered, user_id=user.id, actor_id=actor_id)
    emails.mail_token(user, EmailTokenPurpose.verify_email, email)
    return commit(user)
