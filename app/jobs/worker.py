"""The thread of a server's process that empties the outbox."""

import logging
from threading import Event, Thread

from flask import Flask

from app.jobs import outbox

# How often to look, in seconds, for what is due again or was left by another process.
INTERVAL = 5
# The answer to whoever caused the work goes out first: what it costs must not show in that.
PAUSE = 0.1
# How long a job may go on when the server stops; one that is cut off is done by another process.
PATIENCE = 15

_log = logging.getLogger(__name__)


class Worker:
    """Does what is in the outbox of an application, from ``start`` to ``stop``."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._wanted: Event = app.extensions["outbox"]
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin, in a thread that does not outlive the process."""
        self._thread.start()

    def stop(self) -> None:
        """End once the job at hand is done."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.clear()
            self._drain()
            self._wanted.wait(INTERVAL)
            self._stopping.wait(PAUSE)

    def _drain(self) -> None:
        try:
            with self._app.app_context():
                while not self._stopping.is_set() and outbox.do_next():
                    pass
        except Exception:  # noqa: BLE001  # it outlives a database that is away
            _log.exception("The outbox can't be read; it is tried again in %d s.", INTERVAL)
