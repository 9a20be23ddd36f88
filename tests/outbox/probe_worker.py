"""Celery app with the test handlers: ``celery --app tests.outbox.probe_worker:celery worker``.

Leases are short, and PROBE_QUEUE is the name of the queue.
"""

import os
from datetime import timedelta

from app import create_app
from app.outbox import celery as outbox_celery
from app.outbox import leases
from app.outbox.schedule import periodic
from tests.outbox import probes  # noqa: F401  # registers the handlers


@periodic(every=timedelta(seconds=1))
def tick() -> None:
    """Do nothing."""


leases.LEASE = timedelta(seconds=1)
outbox_celery.QUEUE = os.environ["PROBE_QUEUE"]
celery = create_app().extensions["celery"]
