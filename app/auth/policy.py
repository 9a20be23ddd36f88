"""Who may do what with accounts and sessions."""

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    not_,
    select,
)

from app.auth.models import (
    Actor,
    PersonalToken,
    Role,
    SecondFactor,
    Session,
    TaskGeneration,
    User,
)

# Whoever may administer accounts now.
ABLE_ADMIN = and_(User.role == Role.admin, User.disabled_at.is_(None))

# Whose login needs a second factor.
HAS_SECOND_FACTOR = exists().where(
    SecondFactor.user_id == User.id, SecondFactor.confirmed_at.is_not(None)
)

# The role that an account acts in: where administrators must have a second factor, one without is
# a user. Of the others none is looked for.
ACTING_ROLE = case(
    (
        not_(and_(bindparam("admins_need_two", type_=Boolean), User.role == Role.admin)),
        User.role,
    ),
    (HAS_SECOND_FACTOR, User.role),
    else_=literal(Role.user, User.role.type),
).label("role")


# Who is mailed of tasks: an address that is not proved may be a stranger's.
_REACHABLE = and_(User.email_verified, User.disabled_at.is_(None))
NOTIFIED_ON_CREATE = and_(User.notify_on_create, _REACHABLE).label("notified_on_create")
NOTIFIED_WHEN_DUE = and_(User.notify_when_due, _REACHABLE).label("notified_when_due")

# What an account's tasks are at; it is read with the session, before any of them.
TASKS_GENERATION = func.coalesce(
    select(TaskGeneration.generation).where(TaskGeneration.user_id == User.id).scalar_subquery(), 0
).label("tasks_generation")


def own_session(actor: Actor) -> ColumnElement[bool]:
    """The sessions that ``actor`` may see and end: its own."""
    return Session.user_id == actor.id


def own_token(actor: Actor) -> ColumnElement[bool]:
    """The personal access tokens that ``actor`` may see and delete: its own."""
    return PersonalToken.user_id == actor.id


def live_sessions_of(user_id: Any, now: Any, idle_since: Any) -> ColumnElement[bool]:
    """The sessions of one account that have come to neither their absolute nor their idle end."""
    return and_(
        Session.user_id == user_id, Session.expires_at > now, Session.refreshed_at > idle_since
    )
