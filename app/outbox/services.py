"""The outbox as its operator sees it: what waits, and what was given up."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from app import clock, metrics
from app.extensions import db
from app.outbox import schedule
from app.outbox.models import OutboxItem
from app.outbox.work import enqueued
from app.transactions import after_commit, commit

Row = Mapping[str, Any]


def list_items() -> Iterator[Row]:
    """Return what waits, what is at hand and what was given up, the oldest first."""
    columns = (
        OutboxItem.id,
        OutboxItem.kind,
        OutboxItem.attempts,
        OutboxItem.due_at,
        OutboxItem.held_until,
        OutboxItem.failed_at,
        OutboxItem.error,
    )
    now = clock.now()
    for row in db.session.execute(select(*columns).order_by(OutboxItem.id)).mappings():
        held = row["held_until"] is not None and row["held_until"] > now
        state = "given up" if row["failed_at"] else "at hand" if held else "waiting"
        yield {**row, "state": state}


def retry(ids: Collection[int] | None) -> int:
    """Let given-up items, or all of them, be tried anew from now; return how many they are."""
    chosen = [OutboxItem.failed_at.is_not(None)]
    if ids is not None:
        chosen.append(OutboxItem.id.in_(ids))
    afresh = {"attempts": 0, "due_at": clock.now(), "failed_at": None, "error": None}
    written: Any = db.session.execute(
        update(OutboxItem)
        .where(*chosen)
        .values(afresh)
        .execution_options(synchronize_session=False)
    )
    after_commit(enqueued().set)
    return commit(int(written.rowcount))


def purge() -> Iterator[tuple[str, int]]:
    """Run all that purges, now; yield the name of each and how many rows it deleted."""
    for name, periodic in sorted(schedule.registered().items()):
        if periodic.purges:
            yield name, schedule.run(name) or 0


@metrics.read_when_asked
def _gauges() -> Iterator[GaugeMetricFamily]:
    """How many items wait and how many were given up, whoever works at them."""
    given_up = OutboxItem.failed_at.is_not(None)
    counted = select(OutboxItem.kind, given_up.label("given_up"), func.count())
    waiting = GaugeMetricFamily("jobs_waiting", "Jobs to be done.", labels=["kind"])
    lost = GaugeMetricFamily("jobs_given_up", "Jobs that were given up.", labels=["kind"])
    try:
        rows = db.session.execute(counted.group_by(OutboxItem.kind, given_up)).all()
    except SQLAlchemyError:
        # The other figures are wanted most when the database is away.
        return
    for kind, is_given_up, count in rows:
        (lost if is_given_up else waiting).add_metric([kind], count)
    yield waiting
    yield lost
