"""gunicorn's settings, as ``pipenv run start`` and production use them.

The application does not need this file: ``gunicorn wsgi:app`` works too.
"""

import errno
import os
import select
import shutil
import signal
import sys
import tempfile
from typing import Any

from dotenv import load_dotenv

load_dotenv()
# prometheus_client reads this variable when it is imported.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="task-api-metrics-"))

from prometheus_client import multiprocess  # noqa: E402

from app.config import ConfigurationError, address  # noqa: E402
from app.config import load as load_settings  # noqa: E402
from app.observability.logs import log_formatter  # noqa: E402

try:
    _settings = load_settings()
except ConfigurationError as error:
    sys.exit(str(error))

wsgi_app = "wsgi:app"
bind = address(_settings)
worker_class = "gthread"
# Without Redis each worker counts alone: several workers would allow several times the limit.
_single_worker = _settings["RATELIMIT_ENABLED"] and not _settings["REDIS_URL"]
workers = 1 if _single_worker else _settings["WEB_CONCURRENCY"]
threads = _settings["THREADS"]
# Longer than nginx keeps an idle upstream connection (60 s), so that nginx closes it first.
keepalive = 75
graceful_timeout = 30
loglevel = _settings["LOG_LEVEL"].lower()
# gunicorn's lines in the format of the application's.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"app": {"()": log_formatter, "log_format": _settings["LOG_FORMAT"]}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "app"}},
    "loggers": {"gunicorn.error": {"handlers": ["console"], "propagate": False}},
    "root": {},
}
control_socket_disable = True
# RFC 9110, 4.1, recommends at least 8000 octets.
limit_request_line = 8190
# More than nginx lets through, so that it is nginx that rejects too many (with a problem).
limit_request_fields = 4400
# ProxyFix reads the headers of TRUSTED_PROXIES; gunicorn itself must trust none.
forwarded_allow_ips = ""


def on_starting(server: Any) -> None:
    """Warn if fewer workers run than were configured."""
    if workers < _settings["WEB_CONCURRENCY"]:
        server.log.warning(
            "Starting 1 worker instead of %d: without REDIS_URL, workers do not share rate limit"
            " counters.",
            _settings["WEB_CONCURRENCY"],
        )


class Listener:
    """A listening socket that may be closed while the event loop still asks it for connections."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def accept(self) -> Any:
        """Accept a connection. Raises BlockingIOError if none waits, or after ``close``."""
        if self._listener.sock is None:
            raise BlockingIOError(errno.EAGAIN, "The listening socket is closed.")
        return self._listener.accept()

    def is_waiting(self) -> bool:
        """Return whether a connection waits to be accepted."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        return bool(poll.poll(0))


def post_worker_init(worker: Any) -> None:
    """Let the worker close its listening sockets when it is stopped.

    gthread keeps them open until its requests are finished. The kernel would accept connections
    meanwhile, and reset them when the worker ends.
    """
    worker.sockets = [Listener(listener) for listener in worker.sockets]
    stop: Any = signal.getsignal(signal.SIGTERM)

    def stop_listening(number: int, frame: Any) -> None:
        if worker.alive:
            stop(number, frame)
            # In the event loop of the worker, because a signal may interrupt it anywhere.
            worker.method_queue.defer(close_listeners, worker)

    signal.signal(signal.SIGTERM, stop_listening)


def close_listeners(worker: Any) -> None:
    """Accept the connections that wait already, and no more."""
    worker.set_accept_enabled(False)
    for listener in worker.sockets:
        while listener.is_waiting():
            worker.accept(listener)
        listener.close()


def child_exit(_server: Any, worker: Any) -> None:
    """Remove the live gauges of a dead worker, as prometheus_client documents."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
