"""Connection to the message broker, with short timeouts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.exceptions import OperationalError

from app.outbox.celery import BROKER_TIMEOUT_SECONDS, HANDLE_MESSAGE

# Each transport ignores the names of the others.
TRANSPORT_OPTIONS = {
    "read_timeout": BROKER_TIMEOUT_SECONDS,
    "write_timeout": BROKER_TIMEOUT_SECONDS,
    "confirm_publish": True,
    "socket_timeout": BROKER_TIMEOUT_SECONDS,
    "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
}


class BrokerUnavailable(Exception):
    """The broker cannot be reached, or rejects messages."""


class Broker:
    """A persistent connection, for one thread at a time."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._connection: Any = celery.connection_for_write(
            connect_timeout=BROKER_TIMEOUT_SECONDS, transport_options=TRANSPORT_OPTIONS
        )

    @property
    def connected(self) -> bool:
        return bool(self._connection.connected)

    def count_waiting(self) -> int:
        """Return how many messages wait for a worker. Raises BrokerUnavailable."""
        with self._connect() as producer:
            queue = self._celery.amqp.queues[self._celery.conf.task_default_queue]
            declared: Any = queue(producer.channel).queue_declare()
            return int(declared.message_count)

    def send(self, message_id: int, attempts: int) -> None:
        """Have a worker handle an outbox message. Raises BrokerUnavailable."""
        with self._connect() as producer:
            self._celery.send_task(
                HANDLE_MESSAGE,
                (message_id, attempts),
                producer=producer,
                retry=False,
                timeout=BROKER_TIMEOUT_SECONDS,
                confirm_timeout=BROKER_TIMEOUT_SECONDS,
            )

    def count_workers(self) -> int:
        """Return how many workers answer within a second. Raises BrokerUnavailable."""
        with self._connect():
            return len(self._celery.control.ping(timeout=1, connection=self._connection) or [])

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection.release()

    @contextmanager
    def _connect(self) -> Iterator[Any]:
        """Yield a producer; connect first if necessary."""
        connection = self._connection
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
            yield self._celery.amqp.Producer(connection.default_channel)
        except (
            *connection.connection_errors,
            *connection.channel_errors,
            OperationalError,
        ) as error:
            self.close()
            raise BrokerUnavailable(type(error).__name__) from error
