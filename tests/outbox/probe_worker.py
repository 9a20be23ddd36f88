"""What a worker loads to do the probes: ``celery --app tests.outbox.probe_worker:celery worker``.

A lease is short here, so that no test waits a minute, and the queue is the test's own.
"""

import os
from datetime import timedelta

from app import create_app
from app.outbox import celery as outbox_celery
from app.outbox import items
from app.outbox.schedule import periodic
from tests.outbox import probes  # noqa: F401  # registers its jobs


@periodic(every=timedelta(seconds=1))
def tick() -> None:
    """Do nothing, often."""


items.LEASE = timedelta(seconds=1)
outbox_celery.QUEUE = os.environ["PROBE_QUEUE"]
celery = create_app().extensions["celery"]
