"""Health checks of the service's dependencies."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache

from alembic.script import ScriptDirectory
from celery import Celery
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.config import ROOT
from app.db.types import UTCDateTime
from app.extensions import db
from app.outbox.broker import Broker, BrokerUnavailable
from app.outbox.services import has_overdue_messages

OK, FAILING = "ok", "failing"
REDIS_TIMEOUT_SECONDS = 2
MAX_CLOCK_DIFFERENCE = timedelta(seconds=2)
MAX_OUTBOX_DELAY = timedelta(minutes=1)
log = logging.getLogger(__name__)


class CheckFailed(Exception):
    """A health check failed."""


def check_readiness(redis_url: str | None, celery: Celery | None = None) -> dict[str, str]:
    """Check each dependency of this installation; return their states by name."""
    checks: dict[str, Callable[[], None]] = {
        "database": _check_database,
        "migrations": _check_migrations,
        "outbox": _check_outbox,
    }
    if redis_url:
        checks["redis"] = lambda: _check_redis(redis_url)
    if celery:
        checks["broker"] = lambda: _check_broker(celery)
    return {name: _run(name, check) for name, check in checks.items()}


def is_ready(parts: Mapping[str, str]) -> bool:
    return all(state == OK for state in parts.values())


def check_clock() -> str:
    """Check that the clocks of this machine and of the database agree."""
    return _run("clock", _check_clock)


def check_workers(celery: Celery) -> str:
    """Check that at least one Celery worker responds."""
    return _run("worker", lambda: _check_workers(celery))


def head_revision() -> str | None:
    """Return the latest migration of this release."""
    return _scripts().get_current_head()


def current_revision() -> str | None:
    """Return the migration that the database is at."""
    revision: str | None = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _run(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except (SQLAlchemyError, RedisError, BrokerUnavailable, OSError, CheckFailed) as error:
        log.warning("Health check failed: %s: %s", name, type(error).__name__)
        return FAILING
    return OK


def _check_database() -> None:
    db.session.execute(text("SELECT 1"))


def _check_migrations() -> None:
    """Accept unknown revisions, so that this release works while a newer one is deployed."""
    revision = current_revision()
    if revision is None or (revision in _revisions() and revision != head_revision()):
        raise CheckFailed


def _check_outbox() -> None:
    if has_overdue_messages(MAX_OUTBOX_DELAY):
        raise CheckFailed


def _check_clock() -> None:
    database_time = db.session.scalar(select(func.current_timestamp(type_=UTCDateTime())))
    if database_time is None or abs(clock.now() - database_time) > MAX_CLOCK_DIFFERENCE:
        raise CheckFailed


def _check_redis(url: str) -> None:
    with Redis.from_url(
        url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
    ) as redis:
        redis.ping()


def _check_broker(celery: Celery) -> None:
    broker = Broker(celery)
    try:
        broker.count_waiting()
    finally:
        broker.close()


def _check_workers(celery: Celery) -> None:
    broker = Broker(celery)
    try:
        if broker.count_workers() == 0:
            raise CheckFailed
    finally:
        broker.close()


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(ROOT / "migrations"))


@cache
def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}
