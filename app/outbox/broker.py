"""A connection to the broker that soon tells where that is away."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.exceptions import OperationalError

from app.outbox.celery import DO, PATIENCE_SECONDS

# What each transport calls it; neither minds the other's words.
PATIENCE = {
    "read_timeout": PATIENCE_SECONDS,
    "write_timeout": PATIENCE_SECONDS,
    "confirm_publish": True,
    "socket_timeout": PATIENCE_SECONDS,
    "socket_connect_timeout": PATIENCE_SECONDS,
}


class BrokerAway(Exception):
    """The broker can't be reached, or takes no messages."""


class Broker:
    """Sends messages by a connection that is kept, for one thread at a time."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._connection: Any = None
        self._producer: Any = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def waiting(self) -> int:
        """Return how many messages wait for a worker. Raises BrokerAway."""
        with self._at_hand() as producer:
            queue = self._celery.amqp.queues[self._celery.conf.task_default_queue]
            declared: Any = queue(producer.channel).queue_declare()
            return int(declared.message_count)

    def send(self, item_id: int, attempts: int) -> None:
        """Have a worker do an item. Raises BrokerAway."""
        with self._at_hand() as producer:
            self._celery.send_task(
                DO,
                (item_id, attempts),
                producer=producer,
                retry=False,
                timeout=PATIENCE_SECONDS,
                confirm_timeout=PATIENCE_SECONDS,
            )

    def workers(self) -> int:
        """Return how many workers answer within a second. Raises BrokerAway."""
        with self._at_hand():
            return len(self._celery.control.ping(timeout=1, connection=self._connection) or [])

    def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()

    @contextmanager
    def _at_hand(self) -> Iterator[Any]:
        connection = self._connection or self._celery.connection_for_write(
            connect_timeout=PATIENCE_SECONDS, transport_options=PATIENCE
        )
        self._connection = connection
        errors = (OperationalError, *connection.connection_errors, *connection.channel_errors)
        try:
            if self._producer is None:
                connection.ensure_connection(max_retries=1, interval_start=0)
                self._producer = self._celery.amqp.Producer(connection.channel())
            yield self._producer
        except errors as error:
            self.close()
            raise BrokerAway(type(error).__name__) from error
