"""Celery app, whose workers handle outbox messages: a task carries the id of a message.

Retries and schedules are the outbox's own, which survive the loss of the broker.
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
from app.outbox import dispatcher, schedule

QUEUE = "task-api"
HANDLE_MESSAGE, RUN_PERIODIC = "outbox.handle_message", "outbox.run_periodic"
# A handler that takes longer is interrupted and retried; a minute later its process is killed.
SOFT_TIME_LIMIT, HARD_TIME_LIMIT = timedelta(minutes=10), timedelta(minutes=11)
# For the broker and the result backend.
BROKER_TIMEOUT_SECONDS = 2
# By the scheme of a URL; neither transport verifies certificates by default.
TLS_OPTIONS = {
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None},
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
}
# Long ago, so that every periodic task is due when beat starts.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class CeleryApp(Celery):
    """The Celery app of one Flask application."""

    def __init__(self, app: Flask) -> None:
        super().__init__(
            app.import_name, loader=Loader, log=NoLogging, set_as_current=False, fixups=[]
        )
        self.flask_app = app
        self.conf.update(_configuration(app.config["CELERY_BROKER_URL"], app.config["REDIS_URL"]))


class Loader(AppLoader):
    """Callbacks for the start of workers, their processes, and beat."""

    app: CeleryApp

    def on_worker_init(self) -> None:
        """Set the beat schedule. Raises SystemExit without a broker."""
        if self.app.flask_app.config["CELERY_BROKER_URL"] is None:
            raise SystemExit("There is no broker: set REDIS_URL or CELERY_BROKER_URL.")
        self.app.conf.beat_schedule = _beat_schedule()

    def on_worker_process_init(self) -> None:
        """Drop the database connections inherited from the parent process."""
        with self.app.flask_app.app_context():
            for engine in db.engines.values():
                engine.dispose(close=False)


class NoLogging(Logging):
    """Keep the logging set up by ``app.observability.logs``."""

    def setup(self, *args: Any, **kwargs: Any) -> list[Any]:
        return []


class ResultBackend(RedisBackend):
    """Stores results for operators; nothing waits for them, so no channel is subscribed."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        pass


def celery_app() -> CeleryApp | None:
    """Return the Celery app of the current application, or None without a broker."""
    if current_app.config["CELERY_BROKER_URL"] is None:
        return None
    celery: CeleryApp = current_app.extensions["celery"]
    return celery


def _configuration(broker_url: str | None, redis_url: str | None) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        # Without a broker nothing is sent; Celery's default would be a local RabbitMQ.
        "broker_url": broker_url or "memory://",
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "accept_content": ["json"],
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": SOFT_TIME_LIMIT.total_seconds(),
        "task_time_limit": HARD_TIME_LIMIT.total_seconds(),
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
        "broker_use_ssl": TLS_OPTIONS.get(urlsplit(broker_url or "").scheme, False),
        # The default scheduler stores the last runs in a file.
        "beat_scheduler": "celery.beat.Scheduler",
    }
    return configuration | (_result_backend(redis_url) if redis_url else {})


def _result_backend(redis_url: str) -> dict[str, Any]:
    return {
        "result_backend": f"{ResultBackend.__module__}.{ResultBackend.__qualname__}+{redis_url}",
        "result_expires": timedelta(hours=1),
        "redis_socket_timeout": BROKER_TIMEOUT_SECONDS,
        "redis_socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
        "result_backend_transport_options": {"retry_policy": {"max_retries": 1}},
        "redis_backend_use_ssl": TLS_OPTIONS.get(urlsplit(redis_url).scheme),
    }


def _beat_schedule() -> dict[str, dict[str, Any]]:
    return {
        name: {
            "task": RUN_PERIODIC,
            "args": (name,),
            "schedule": periodic.every,
            "last_run_at": NEVER,
            "options": {"expires": periodic.every.total_seconds()},
        }
        for name, periodic in schedule.periodic_tasks.items()
    }


def init_app(app: Flask) -> None:
    """Create the Celery app and its two tasks."""
    celery = app.extensions["celery"] = CeleryApp(app)

    @celery.task(name=HANDLE_MESSAGE, shared=False)
    def handle_message(message_id: int, attempts: int) -> str:
        with app.app_context():
            return str(dispatcher.dispatch_sent(message_id, attempts))

    @celery.task(name=RUN_PERIODIC, shared=False, ignore_result=True)
    def run_periodic(name: str) -> None:
        with app.app_context():
            schedule.run(name)
