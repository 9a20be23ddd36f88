"""Operations on the outbox for its operator: list, retry, purge, metrics."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from app import clock
from app.db.transactions import after_commit, commit
from app.extensions import db
from app.observability import metrics
from app.outbox import schedule
from app.outbox.leases import is_available
from app.outbox.models import OutboxMessage
from app.outbox.queue import new_messages


def list_messages() -> Iterable[OutboxMessage]:
    """Return every message, oldest first."""
    return db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id))


def has_overdue_messages(than: timedelta) -> bool:
    """Return whether a message has been due for longer than ``than`` without being handled."""
    now = clock.now()
    overdue = select(OutboxMessage.id).where(*is_available(now), OutboxMessage.due_at < now - than)
    return db.session.scalar(overdue.limit(1)) is not None


def retry(ids: Collection[int] | None) -> int:
    """Make dead messages, or all of them, due now; return how many there were."""
    statement = update(OutboxMessage).where(OutboxMessage.failed_at.is_not(None))
    if ids is not None:
        statement = statement.where(OutboxMessage.id.in_(ids))
    values = {"attempts": 0, "due_at": clock.now(), "failed_at": None, "error": None}
    count = db.session.connection().execute(statement.values(values)).rowcount
    after_commit(new_messages.set)
    return commit(count)


def purge() -> Iterator[tuple[str, int]]:
    """Run every periodic task that purges; yield the name and the number of deleted rows."""
    for name, task in sorted(schedule.periodic_tasks.items()):
        if task.purges:
            yield name, schedule.run(name) or 0


class OutboxCollector(Collector):
    """Number of messages in the outbox, by state."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count the messages; return nothing while the database is unavailable."""
        dead = OutboxMessage.failed_at.is_not(None)
        statement = select(OutboxMessage.type, dead, func.count())
        try:
            rows = db.session.execute(statement.group_by(OutboxMessage.type, dead)).all()
        except SQLAlchemyError:
            return
        for name, description, is_dead in (
            ("outbox_messages_waiting", "Messages to be processed.", False),
            ("outbox_messages_dead", "Messages whose last attempt failed.", True),
        ):
            gauge = GaugeMetricFamily(name, description, labels=["type"])
            for message_type, failed, count in rows:
                if bool(failed) is is_dead:
                    gauge.add_metric([message_type], count)
            yield gauge


metrics.DATABASE_REGISTRY.register(OutboxCollector())
