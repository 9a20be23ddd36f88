"""The thread of a server's process that sees to the outbox.

With a broker it only sends, and Celery's workers do; without one it does all of it.
"""

import logging
from collections.abc import Callable
from threading import Event, Thread

from flask import Flask

from app.outbox import celery, schedule, work
from app.outbox.broker import Broker
from app.outbox.relay import Relay

# How often to look, in seconds, for what is due again or was left by another process.
INTERVAL = 5
# The answer to whoever caused the work goes out first: what it costs must not show in that.
PAUSE = 0.1
# How long a job may go on when the server stops; one that is cut off is done by another process.
PATIENCE = 15

_log = logging.getLogger(__name__)


class Worker:
    """Sees to the outbox of an application, from ``start`` to ``stop``."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        with app.app_context():
            carrier = celery.carrier()
        self._relay = Relay(Broker(carrier)) if carrier else None
        self._timetable = schedule.Timetable()
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
            self._see_to_it()
            self._wanted.wait(INTERVAL)
            self._stopping.wait(PAUSE)
        if self._relay is not None:
            self._relay.close()

    def _see_to_it(self) -> None:
        try:
            with self._app.app_context():
                if self._relay is not None:
                    self._while_there_is_more(self._relay.send_due)
                else:
                    self._while_there_is_more(work.do_next)
                    self._while_there_is_more(self._timetable.run_next)
        except Exception:  # noqa: BLE001  # it outlives a database that is away
            _log.exception("The outbox can't be read; it is tried again in %d s.", INTERVAL)

    def _while_there_is_more(self, act: Callable[[], bool]) -> None:
        while not self._stopping.is_set() and act():
            pass
