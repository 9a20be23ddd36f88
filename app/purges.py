"""What is deleted when nobody can use it any more: each room's part, as often as it is done."""

from datetime import timedelta

from flask import Flask, current_app

from app import clock
from app.audit import services as audit
from app.auth import mailed_tokens
from app.auth import services as accounts
from app.http import idempotency
from app.jobs import services as jobs
from app.outbox.models import OutboxItem
from app.outbox.schedule import periodic
from app.transactions import delete_older

HOURLY = timedelta(hours=1)
DAILY = timedelta(days=1)
# How long what was given up can be tried again.
GIVEN_UP = timedelta(days=30)


def purge_events() -> int:
    """Delete the events that are older than AUDIT_DAYS, and return how many they were."""
    return audit.purge(days=current_app.config["AUDIT_DAYS"])


def purge_jobs() -> int:
    """Delete the jobs that ended JOB_DAYS ago, with their files; return how many they were."""
    return jobs.purge(days=current_app.config["JOB_DAYS"])


def purge_given_up() -> int:
    """Delete the work that was given up long ago, and return how much it was."""
    return delete_older(OutboxItem.failed_at, clock.now() - GIVEN_UP)


def init_app(_app: Flask) -> None:
    """Have each done again and again, and by ``flask jobs purge`` at once."""
    periodic(every=HOURLY, purges=True)(idempotency.purge)
    periodic(every=DAILY, purges=True)(accounts.purge_sessions)
    periodic(every=DAILY, purges=True)(mailed_tokens.purge)
    periodic(every=DAILY, purges=True)(purge_events)
    periodic(every=DAILY, purges=True)(purge_jobs)
    periodic(every=DAILY, purges=True)(purge_given_up)
