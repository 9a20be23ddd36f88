"""Periodic tasks that delete expired data of all packages."""

from datetime import timedelta

from flask import Flask, current_app

from app import clock
from app.api import idempotency
from app.audit import services as audit
from app.auth import email_tokens
from app.auth.services import sessions
from app.db.transactions import delete_expired
from app.jobs import services as jobs
from app.outbox.models import OutboxMessage
from app.outbox.schedule import periodic

HOURLY = timedelta(hours=1)
DAILY = timedelta(days=1)
DEAD_MESSAGE_RETENTION = timedelta(days=30)


def purge_events() -> int:
    """Delete audit events older than AUDIT_DAYS; return their number."""
    return audit.purge(days=current_app.config["AUDIT_DAYS"])


def purge_jobs() -> int:
    """Delete jobs that ended JOB_DAYS ago, with their files; return their number."""
    return jobs.purge(days=current_app.config["JOB_DAYS"])


def purge_dead_messages() -> int:
    """Delete outbox messages whose last attempt failed long ago; return their number."""
    return delete_expired(OutboxMessage.failed_at, clock.now() - DEAD_MESSAGE_RETENTION)


def init_app(_app: Flask) -> None:
    """Register the periodic tasks."""
    periodic(every=HOURLY, purges=True)(idempotency.purge)
    periodic(every=DAILY, purges=True)(sessions.purge_sessions)
    periodic(every=DAILY, purges=True)(email_tokens.purge)
    periodic(every=DAILY, purges=True)(purge_events)
    periodic(every=DAILY, purges=True)(purge_jobs)
    periodic(every=DAILY, purges=True)(purge_dead_messages)
