"""gunicorn's settings, as ``pipenv run start`` and production use them.

The application does not need this file: ``gunicorn wsgi:app`` works too.
"""

import os
import shutil
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


def child_exit(_server: Any, worker: Any) -> None:
    """Remove the live gauges of a dead worker, as prometheus_client documents."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
