"""Health checks of the service's dependencies."""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from functools import cache, partial

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
Check = Callable[[], None]
log = logging.getLogger(__name__)


class CheckFailed(Exception):
    """A health check failed."""


def check_readiness(redis_url: str | None, celery: Celery | None = None) -> dict[str, str]:
    """Check each dependency of this installation; return their states by name."""
    checks = {"database": _check_database, "migrations": _check_migrations, "outbox": _check_outbox}
    if redis_url:
        checks["redis"] = partial(_check_redis, redis_url)
    if celery:
        checks["broker"] = partial(_check_broker, celery)
    return _run(checks)


def check_installation(redis_url: str | None, celery: Celery | None) -> dict[str, str]:
    """Check the dependencies, Celery's workers and the clock; return their states by name."""
    checks = {"worker": partial(_check_workers, celery)} if celery else {}
    return check_readiness(redis_url, celery) | _run({**checks, "clock": _check_clock})


def is_ready(parts: Mapping[str, str]) -> bool:
    return all(state == OK for state in parts.values())


def head_revision() -> str | None:
    """Return the latest migration of this release."""
    return _scripts().get_current_head()


def _run(checks: Mapping[str, Check]) -> dict[str, str]:
    states = dict.fromkeys(checks, OK)
    for name, check in checks.items():
        try:
            check()
        except (SQLAlchemyError, RedisError, BrokerUnavailable, OSError, CheckFailed) as error:
            log.warning("Health check failed: %s: %s", name, type(error).__name__)
            states[name] = FAILING
    return states


def _check_database() -> None:
    db.session.execute(text("SELECT 1"))


def _check_migrations() -> None:
    """Accept unknown revisions, so that this release works while a newer one is deployed."""
    revision = db.session.scalar(text("SELECT version_num FROM alembic_version"))
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
    with closing(Broker(celery)) as broker:
        broker.count_waiting()


def _check_workers(celery: Celery) -> None:
    with closing(Broker(celery)) as broker:
        if broker.count_workers() == 0:
            raise CheckFailed


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(ROOT / "migrations"))


@cache
def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}
