"""Tells Celery's workers which items are due. A message that is lost is sent again."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select, update

from app import clock
from app.extensions import db
from app.outbox.broker import Broker, BrokerAway
from app.outbox.items import free
from app.outbox.models import OutboxItem
from app.transactions import commit

# When an item that was sent is sent again, unless it is at hand or ended by then.
RESEND = timedelta(minutes=1)
BATCH = 100
# While no worker takes them, no more messages than this wait at the broker.
ROOM = 1000

_log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """What a message says: which item, and how often it was tried before."""

    id: int
    attempts: int


class Relay:
    """Sends what is due, for one thread; says when the broker goes away and when it is back."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._away = False

    def send_due(self) -> bool:
        """Send a batch of what is due, and tell whether there may be more."""
        was_connected = self._broker.connected
        try:
            sent = self._send_batch()
        except BrokerAway as error:
            if was_connected:
                # It may be only this connection that is gone.
                return self.send_due()
            self._note(away=True, because=str(error))
            return False
        self._note(away=False)
        return sent == BATCH

    def close(self) -> None:
        """End the connection to the broker."""
        self._broker.close()

    def _send_batch(self) -> int:
        until = clock.now() + RESEND
        room = min(BATCH, ROOM - self._broker.waiting())
        taken = _take(room, until) if room > 0 else []
        left = list(taken)
        try:
            for item in taken:
                self._broker.send(*item)
                left.remove(item)
        finally:
            if left:
                _put_back(left, until)
        return len(taken)

    def _note(self, *, away: bool, because: str = "") -> None:
        if away and not self._away:
            _log.warning("The broker is away (%s); jobs wait until it is back.", because)
        elif self._away and not away:
            _log.info("The broker is back.")
        self._away = away


def _take(most: int, until: datetime) -> list[Sent]:
    """Take what is due to send it; it is due again at ``until``."""
    now = clock.now()
    due = (
        select(OutboxItem.id)
        .where(*free(now), OutboxItem.due_at <= now)
        .order_by(OutboxItem.due_at, OutboxItem.id)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = db.session.execute(
        update(OutboxItem)
        .where(OutboxItem.id.in_(select(due.c.id)))
        .values(due_at=until)
        .returning(OutboxItem.id, OutboxItem.attempts)
        .execution_options(synchronize_session=False)
    ).all()
    return commit(sorted(Sent(*row) for row in taken))


def _put_back(items: Sequence[Sent], until: datetime) -> None:
    """Have items be due now that could not be sent."""
    ours = (OutboxItem.id.in_([item.id for item in items]), OutboxItem.due_at == until)
    db.session.execute(
        update(OutboxItem)
        .where(*ours)
        .values(due_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    commit()
