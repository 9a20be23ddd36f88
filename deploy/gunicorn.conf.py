"""gunicorn, as ``pipenv run start`` and production run it; each name is a setting of its own."""

import os
import shutil
import sys
import tempfile
from threading import Thread
from typing import Any

from dotenv import load_dotenv

load_dotenv()
# Where each process keeps its counts; it must be known before anything that counts is imported.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="task-api-metrics-"))

from prometheus_client import multiprocess  # noqa: E402

from app.checkpoints import Checkpoints  # noqa: E402
from app.config import ConfigurationError  # noqa: E402
from app.config import load as load_settings  # noqa: E402
from app.outbox.worker import Worker  # noqa: E402

try:
    _settings = load_settings()
except ConfigurationError as error:
    sys.exit(str(error))

wsgi_app = "wsgi:app"
bind = f"{_settings['HOST']}:{_settings['PORT']}"
worker_class = "app.server.Worker"
# Counts that each worker kept for itself would let as many times more through.
_alone = _settings["RATELIMIT_ENABLED"] and not _settings["REDIS_URL"]
workers = 1 if _alone else _settings["WEB_CONCURRENCY"]
threads = _settings["THREADS"]
keepalive = 75
graceful_timeout = 30
loglevel = _settings["LOG_LEVEL"].lower()
control_socket_disable = True
# As long as RFC 9110, 4.1, asks for; a cursor and filters have room.
limit_request_line = 8190
# No client is believed about another address, scheme or path than its connection shows.
forwarded_allow_ips = ""
# A pipe that nobody writes to; where reading from it ends, so has the process that holds its end.
_master_ended, _master_lives = os.pipe()


def post_fork(_server: Any, _worker: Any) -> None:
    """Have each worker end with the master, however that ends, or it would keep the address."""
    os.close(_master_lives)
    Thread(target=_end_with_master, name="end with master", daemon=True).start()


def _end_with_master() -> None:
    os.read(_master_ended, 1)
    os._exit(1)


def on_starting(server: Any) -> None:
    """Tell where fewer workers serve than were asked for."""
    if workers < _settings["WEB_CONCURRENCY"]:
        server.log.warning(
            "Serving with 1 worker instead of %d: without REDIS_URL, workers don't share the counts"
            " of rate limits.",
            _settings["WEB_CONCURRENCY"],
        )


def post_worker_init(worker: Any) -> None:
    """Have each worker process do beside its requests what they are not to wait for."""
    worker.beside = [Worker(worker.application), Checkpoints(worker.application)]
    for one in worker.beside:
        one.start()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget what only a living process has, such as open connections."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Take the counts away."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def worker_exit(_server: Any, worker: Any) -> None:
    """Let the job at hand end."""
    for one in getattr(worker, "beside", ()):
        one.stop()
