"""What readiness is made of: each part is asked, and says what is wrong with it."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from celery import Celery
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.database import Instant
from app.extensions import db
from app.outbox.broker import Broker, BrokerAway

MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "migrations"
OK, FAILING = "ok", "failing"
PATIENCE_SECONDS = 2
DRIFT = timedelta(seconds=2)
log = logging.getLogger(__name__)


def readiness(redis_url: str | None, celery: Celery | None = None) -> dict[str, str]:
    """Ask every part that this installation has, and return what each says: ok or failing."""
    parts: dict[str, Callable[[], None]] = {
        "database": _ask_database,
        "migrations": _compare_migrations,
    }
    if redis_url:
        parts["redis"] = lambda: _ask_redis(redis_url)
    if celery:
        parts["broker"] = lambda: _ask_broker(celery)
    return {name: _say(name, ask) for name, ask in parts.items()}


def is_ready(parts: Mapping[str, str]) -> bool:
    return all(state == OK for state in parts.values())


def clock_state() -> str:
    """Tell whether our clock and the database's agree: tokens and pages go by the time."""
    return _say("clock", _compare_clocks)


def worker_state(celery: Celery) -> str:
    """Tell whether any worker answers."""
    return _say("worker", lambda: _ask_workers(celery))


def head() -> str | None:
    """The revision that the code needs the database to be at."""
    return _scripts().get_current_head()


def revision() -> str | None:
    """The revision that the database is at."""
    found: str | None = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _say(name: str, ask: Callable[[], None]) -> str:
    try:
        ask()
    except (SQLAlchemyError, RedisError, BrokerAway, OSError, RuntimeError) as error:
        log.warning("Not ready: %s: %s", name, type(error).__name__)
        return FAILING
    return OK


def _ask_database() -> None:
    db.session.execute(text("SELECT 1"))


def _compare_migrations() -> None:
    """Raise RuntimeError where the database lacks what the code needs.

    A revision that we don't know is a newer version's: ours goes on while that one takes over.
    """
    found = revision()
    if found is None or (found in _revisions() and found != head()):
        raise RuntimeError


def _compare_clocks() -> None:
    """Raise RuntimeError unless the database's clock is within a second or two of ours."""
    told = db.session.scalar(select(func.current_timestamp(type_=Instant())))
    if told is None or abs(clock.now() - told) > DRIFT:
        raise RuntimeError


def _ask_redis(url: str) -> None:
    with Redis.from_url(
        url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    ) as redis:
        redis.ping()


def _ask_broker(celery: Celery) -> None:
    broker = Broker(celery)
    try:
        broker.waiting()
    finally:
        broker.close()


def _ask_workers(celery: Celery) -> None:
    """Raise RuntimeError where no worker answers in time."""
    broker = Broker(celery)
    try:
        if broker.workers() == 0:
            raise RuntimeError
    finally:
        broker.close()


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


@cache
def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}
