"""Permissions of users, sessions and personal access tokens."""

from datetime import datetime

from sqlalchemy import BindParameter, Boolean, ColumnElement, and_, bindparam, case, exists, literal

from app.auth.models import CAN_RECEIVE_EMAIL, PersonalToken, Role, SecondFactor, Session, User

IS_ACTIVE_ADMIN = and_(User.role == Role.admin, User.disabled_at.is_(None))

_second_factor = exists().where(
    SecondFactor.user_id == User.id, SecondFactor.confirmed_at.is_not(None)
)
HAS_SECOND_FACTOR = _second_factor.label("has_second_factor")

# Where administrators must have a second factor, one without it has only the role of a user.
effective_role = case(
    (
        and_(
            bindparam("admins_require_mfa", type_=Boolean),
            User.role == Role.admin,
            ~_second_factor,
        ),
        literal(Role.user, User.role.type),
    ),
    else_=User.role,
).label("role")

NOTIFIED_ON_CREATE = and_(User.notify_on_create, CAN_RECEIVE_EMAIL).label("notified_on_create")
NOTIFIED_WHEN_DUE = and_(User.notify_when_due, CAN_RECEIVE_EMAIL).label("notified_when_due")


def owns_session(user_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Return the condition for sessions that a user may list and end."""
    return Session.user_id == user_id


def is_live_session(
    now: datetime | BindParameter[datetime], idle_since: datetime | BindParameter[datetime]
) -> ColumnElement[bool]:
    """Return the condition for sessions that have reached neither their absolute nor idle end."""
    return and_(Session.expires_at > now, Session.refreshed_at > idle_since)


def owns_token(user_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Return the condition for personal access tokens that a user may read and delete."""
    return PersonalToken.user_id == user_id
