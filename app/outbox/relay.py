"""Relay of due messages to Celery workers. A message that the broker loses is sent again."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, update

from app import clock
from app.db.transactions import commit
from app.extensions import db
from app.outbox.broker import Broker, BrokerUnavailable
from app.outbox.leases import update_available
from app.outbox.models import OutboxMessage

# When a message is sent again that no worker has leased or completed by then.
RESEND_AFTER = timedelta(minutes=1)
BATCH_SIZE = 100
# While no worker takes them, at most so many messages wait at the broker.
MAX_WAITING = 1000

_log = logging.getLogger(__name__)


class Relay:
    """Sends due messages, for one thread; logs when the broker becomes unavailable."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._unavailable = False

    def send_due(self) -> bool:
        """Send a batch of due messages; return whether there may be more."""
        was_connected = self._broker.connected
        try:
            count = self._send_batch()
        except BrokerUnavailable as error:
            if was_connected:
                # Perhaps only this connection was lost.
                return self.send_due()
            if not self._unavailable:
                _log.warning("The broker is unavailable (%s); messages wait.", error)
            self._unavailable = True
            return False
        if self._unavailable:
            _log.info("The broker is available again.")
        self._unavailable = False
        return count == BATCH_SIZE

    def close(self) -> None:
        """Close the connection to the broker."""
        self._broker.close()

    def _send_batch(self) -> int:
        resend_at = clock.now() + RESEND_AFTER
        size = min(BATCH_SIZE, MAX_WAITING - self._broker.count_waiting())
        batch = _reserve(size, resend_at) if size > 0 else []
        unsent = list(batch)
        try:
            for message in batch:
                self._broker.send(*message)
                unsent.remove(message)
        finally:
            if unsent:
                _put_back(unsent, resend_at)
        return len(batch)


def _reserve(size: int, resend_at: datetime) -> list[Row[int, int]]:
    """Return due messages, as sent, which no other process sends before ``resend_at``."""
    due = update_available(size, OutboxMessage.due_at <= clock.now()).values(due_at=resend_at)
    statement = due.returning(OutboxMessage.id, OutboxMessage.attempts)
    return commit(sorted(db.session.execute(statement).all()))


def _put_back(messages: Sequence[Row[int, int]], resend_at: datetime) -> None:
    """Make messages due again that could not be sent."""
    ids = [message.id for message in messages]
    statement = update(OutboxMessage).values(due_at=clock.now())
    ours = (OutboxMessage.id.in_(ids), OutboxMessage.due_at == resend_at)
    db.session.connection().execute(statement.where(*ours))
    commit()
