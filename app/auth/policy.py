"""Who may do what with accounts and sessions."""

from typing import Any

from sqlalchemy import ColumnElement, and_

from app.auth.models import Actor, PersonalToken, Session


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
