"""What is recorded, in the transaction of what it records, and read again."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, insert

from app import clock, metrics
from app.audit.models import AuditEvent, Event
from app.audit.schemas import AUDIT_EVENT
from app.extensions import db
from app.http.pages import Listing, Page
from app.origin import origin
from app.statements import Insertion
from app.transactions import begin, delete_older

EVENTS = Listing(
    name="audit",
    schema=AUDIT_EVENT,
    row_id=AuditEvent.id,
    scope=AuditEvent.user_id == bindparam("user_id"),
    sorts={"created_at": AuditEvent.created_at},
    filters={},
)


RECORD = Insertion(AuditEvent)
RECORD_ALL = insert(AuditEvent).execution_options(render_nulls=True)


def record(event: Event, *, user_id: int | None, actor_id: int | None, **details: Any) -> None:
    """Add an event of the account ``user_id`` to the transaction at hand, or begin one with it.

    ``details`` hold no secret, no password and no address.
    """
    begin()
    # One statement, whether or not there is an account: its time tells nothing of that.
    RECORD.one({**_common(event, actor_id), "user_id": user_id, "details": details})
    metrics.EVENTS.labels(str(event)).inc()


def record_all(
    event: Event, each: Iterable[tuple[int | None, dict[str, Any]]], *, actor_id: int | None
) -> None:
    """Add several events of one kind by one statement, each with its account and its details."""
    common = _common(event, actor_id)
    rows = [{**common, "user_id": user_id, "details": details} for user_id, details in each]
    db.session.execute(RECORD_ALL, rows)
    metrics.EVENTS.labels(str(event)).inc(len(rows))


def _common(event: Event, actor_id: int | None) -> dict[str, Any]:
    came_from = origin()
    return {
        "event": str(event),
        "actor_id": actor_id,
        "ip_address": came_from.ip_address,
        "user_agent": came_from.user_agent,
        "request_id": came_from.request_id,
        "created_at": clock.now(),
    }


def list_events(user_id: int, *, limit: int, cursor: str | None) -> Page:
    """Return the events of one account, the newest first; who may ask is the caller's to say."""
    return EVENTS.page(
        values={"user_id": user_id},
        sort="-created_at",
        limit=limit,
        cursor=cursor,
        bound_to=user_id,
    )


def purge(*, days: int) -> int:
    """Delete the events that are older than so many days, and return how many they were."""
    return delete_older(AuditEvent.created_at, clock.now() - timedelta(days=days))
