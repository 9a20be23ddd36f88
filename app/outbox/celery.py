"""Celery, which carries work to other processes: a message names an item, the outbox has the rest.

It neither retries nor schedules by itself; that is the outbox's, which survives the broker.
"""

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.app.log import Logging
from celery.backends.redis import RedisBackend
from celery.loaders.app import AppLoader
from flask import Flask, current_app

from app.extensions import db
from app.outbox import schedule, work

QUEUE = "task-api"
DO, RUN = "outbox.do", "outbox.run"
# A job that takes longer fails, and its process is ended a minute after that.
SOFT_LIMIT, HARD_LIMIT = timedelta(minutes=10), timedelta(minutes=11)
# How long a broker, or the store of results, may take to answer.
PATIENCE_SECONDS = 2
# So early that whatever is done again and again is due when its process starts.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Carrier(Celery):
    """The Celery application that belongs to one of Flask's."""

    def __init__(self, app: Flask) -> None:
        super().__init__(
            app.import_name, loader=Loader, log=OurLogging, set_as_current=False, fixups=[]
        )
        self.flask_app = app
        self.conf.update(_configuration(app.config["CELERY_BROKER_URL"], app.config["REDIS_URL"]))


class Loader(AppLoader):
    """What is done when a worker or beat starts."""

    app: Carrier

    def on_worker_init(self) -> None:
        """Raise SystemExit where there is no broker, else learn what is periodic."""
        if self.app.flask_app.config["CELERY_BROKER_URL"] is None:
            raise SystemExit("There is no broker: set REDIS_URL or CELERY_BROKER_URL.")
        self.app.conf.beat_schedule = _beat_schedule()

    def on_worker_process_init(self) -> None:
        """Leave the parent's connections to it."""
        with self.app.flask_app.app_context():
            for engine in db.engines.values():
                engine.dispose(close=False)


class OurLogging(Logging):
    """Leaves logging as it is: ``app.logs`` has set it up."""

    def setup(self, *args: Any, **kwargs: Any) -> list[Any]:
        return []


class Outcomes(RedisBackend):
    """Keeps how attempts ended. Nobody waits for that, so none is listened for."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        pass


def carrier() -> Carrier | None:
    """Return what carries work to workers, or None where there is no broker."""
    if current_app.config["CELERY_BROKER_URL"] is None:
        return None
    held: Carrier = current_app.extensions["celery"]
    return held


def _configuration(broker: str | None, redis: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        # Without a broker nothing is ever sent, not even to one that Celery would think of.
        "broker_url": broker or "memory://",
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": SOFT_LIMIT.total_seconds(),
        "task_time_limit": HARD_LIMIT.total_seconds(),
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
        # It keeps nothing on disk: what is due is run when it starts.
        "beat_scheduler": "celery.beat.Scheduler",
    }
    # Neither of the two checks certificates unless told to.
    match urlsplit(broker or "").scheme:
        case "amqps":
            told["broker_use_ssl"] = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
        case "rediss":
            told["broker_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return told | (_results(redis) if redis else {})


def _beat_schedule() -> dict[str, dict[str, Any]]:
    return {
        name: {
            "task": RUN,
            "args": (name,),
            "schedule": periodic.every,
            "last_run_at": NEVER,
            "options": {"expires": periodic.every.total_seconds()},
        }
        for name, periodic in schedule.registered().items()
    }


def _results(redis: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "result_backend": f"{Outcomes.__module__}.{Outcomes.__qualname__}+{redis}",
        "result_expires": timedelta(hours=1),
        "redis_socket_timeout": PATIENCE_SECONDS,
        "redis_socket_connect_timeout": PATIENCE_SECONDS,
        "result_backend_transport_options": {"retry_policy": {"max_retries": 1}},
    }
    if urlsplit(redis).scheme == "rediss":
        told["redis_backend_use_ssl"] = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return told


def init_app(app: Flask) -> None:
    """Make the application's Celery, with the two tasks that there are."""
    celery = app.extensions["celery"] = Carrier(app)

    @celery.task(name=DO, shared=False)
    def do(item_id: int, attempts: int) -> str:
        with app.app_context():
            return str(work.do_sent(item_id, attempts))

    @celery.task(name=RUN, shared=False, ignore_result=True)
    def run(name: str) -> None:
        with app.app_context():
            schedule.run(name)
