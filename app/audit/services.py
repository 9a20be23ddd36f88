"""The audit log: events are recorded in the transaction of what they report."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, insert

from app import clock
from app.audit.models import AuditEvent, Event
from app.db.pagination import KeysetPaginator, Page
from app.db.transactions import delete_expired
from app.extensions import db
from app.observability import metrics
from app.request_context import request_context

EVENTS = KeysetPaginator(
    name="audit",
    columns=AuditEvent.__table__.columns.values(),
    row_id=AuditEvent.id,
    scope=AuditEvent.user_id == bindparam("user_id"),
    sorts={"created_at": AuditEvent.created_at},
)


def record(event: Event, *, user_id: int | None, actor_id: int | None, **details: Any) -> None:
    """Add an event about a user to the current transaction.

    ``details`` must not contain secrets, passwords or email addresses.
    """
    db.session.add(AuditEvent(user_id=user_id, details=details, **_common_values(event, actor_id)))
    metrics.EVENTS.labels(str(event)).inc()


def record_own(event: Event, user_id: int | None, **details: Any) -> None:
    """Add an event that a user caused, or someone who claims to be that user."""
    record(event, user_id=user_id, actor_id=user_id, **details)


def record_all(
    event: Event, users: Iterable[tuple[int | None, dict[str, Any]]], *, actor_id: int | None
) -> None:
    """Add several events of the same type by one statement, each with a user and its details."""
    common = _common_values(event, actor_id)
    rows = [{**common, "user_id": user_id, "details": details} for user_id, details in users]
    db.session.execute(insert(AuditEvent).execution_options(render_nulls=True), rows)
    metrics.EVENTS.labels(str(event)).inc(len(rows))


def _common_values(event: Event, actor_id: int | None) -> dict[str, Any]:
    context = request_context()
    return {
        "event": event,
        "actor_id": actor_id,
        "ip_address": context.ip_address,
        "user_agent": context.user_agent,
        "request_id": context.request_id,
        "created_at": clock.now(),
    }


def list_events(user_id: int, *, limit: int, cursor: str | None) -> Page:
    """Return a page of the events about a user, newest first; the caller checks permissions."""
    return EVENTS.page(
        values={"user_id": user_id}, sort="-created_at", limit=limit, cursor=cursor, context=user_id
    )


def purge(*, days: int) -> int:
    """Delete the events that are older than ``days``, and return their number."""
    return delete_expired(AuditEvent.created_at, clock.now() - timedelta(days=days))
