"""Background thread of a server process that processes the outbox.

With a broker it only sends messages, which Celery's workers handle; without one it handles them
itself and runs the periodic tasks. It starts with the first request, so it needs no hook of the
WSGI server.
"""

import atexit
import logging
import os
from collections.abc import Callable
from threading import Event, Lock, Thread

from flask import Flask

from app.outbox import dispatcher, schedule
from app.outbox.broker import Broker
from app.outbox.celery import celery_app
from app.outbox.queue import new_messages
from app.outbox.relay import Relay

# How often to look for messages that are due again or were left by another process.
POLL_SECONDS = 5
# The response goes out first, so that its time does not depend on the work that it caused.
START_DELAY_SECONDS = 0.1
# How long a handler may go on at exit; afterwards another process handles the message again.
STOP_TIMEOUT_SECONDS = 15

_log = logging.getLogger(__name__)


class OutboxThread:
    """Starts and stops the thread; one per application and process."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = Lock()
        self._pid: int | None = None
        self._stopping = Event()

    def ensure_started(self) -> None:
        """Start the thread unless this process has one: a fork does not copy threads."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._start()

    def stop(self) -> None:
        """Stop the thread once the current message is handled."""
        atexit.unregister(self.stop)
        if self._pid == os.getpid():
            self._stopping.set()
            new_messages.set()
            self._thread.join(STOP_TIMEOUT_SECONDS)
            self._pid = None

    def _start(self) -> None:
        with self._app.app_context():
            celery = celery_app()
        self._relay = Relay(Broker(celery)) if celery else None
        self._timetable = schedule.Timetable()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()
        self._pid = os.getpid()
        atexit.register(self.stop)

    def _run(self) -> None:
        while not self._stopping.is_set():
            new_messages.clear()
            self._process_due()
            new_messages.wait(POLL_SECONDS)
            self._stopping.wait(START_DELAY_SECONDS)
        if self._relay is not None:
            self._relay.close()

    def _process_due(self) -> None:
        try:
            with self._app.app_context():
                if self._relay is not None:
                    self._repeat(self._relay.send_due)
                else:
                    self._repeat(dispatcher.dispatch_next)
                    self._repeat(self._timetable.run_next)
        except Exception:  # noqa: BLE001  # the thread must survive an unavailable database
            _log.exception("The outbox cannot be read; retrying in %d s.", POLL_SECONDS)

    def _repeat(self, step: Callable[[], bool]) -> None:
        while not self._stopping.is_set() and step():
            pass


def init_app(app: Flask) -> None:
    """Process the outbox from the first request on; tests start the thread themselves."""
    thread = app.extensions["outbox"] = OutboxThread(app)
    if not app.testing:
        app.before_request(thread.ensure_started)
