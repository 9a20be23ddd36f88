"""The outbox: what is enqueued is done, whatever fails meanwhile."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import select, update

from app.audit import services as audit
from app.audit.models import AuditEvent, Event
from app.extensions import db
from app.jobs import outbox
from app.jobs.models import OutboxItem
from app.jobs.worker import Worker
from app.transactions import commit

START = datetime(2040, 1, 31, 9, tzinfo=UTC)


class Probe:
    """A job that notes its payloads, after doing what it is told to."""

    def __init__(self):
        self.seen = []
        self.act = lambda: None

    def __call__(self, **payload):
        self.seen.append(payload)
        self.act()


@pytest.fixture
def probe(monkeypatch):
    made = Probe()
    monkeypatch.setitem(outbox._handlers, "probe", made)
    return made


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as travelled:
        yield travelled


@pytest.fixture
def enqueue(app):
    def add(**payload):
        with app.app_context():
            outbox.enqueue("probe", **payload)
            commit()

    return add


@pytest.fixture
def drain(app):
    def run():
        with app.app_context():
            return outbox.drain()

    return run


def refuse():
    raise RuntimeError("not now")


class Killed(BaseException):
    """What ends a process."""


def die():
    raise Killed


def test_what_is_enqueued_is_done_once_in_order_and_forgotten(probe, enqueue, drain, stored):
    for number in range(3):
        enqueue(number=number, word="ü")
    assert probe.seen == []
    assert drain() == 3
    assert probe.seen == [{"number": number, "word": "ü"} for number in range(3)]
    assert stored(select(OutboxItem.id)) == []
    assert drain() == 0


def test_what_is_not_committed_is_not_done(app, probe, drain):
    with app.app_context():
        outbox.enqueue("probe")
        db.session.rollback()
    assert drain() == 0


def test_a_commit_that_enqueues_wakes_the_worker_and_no_other_does(app, probe, enqueue):
    wanted = app.extensions["outbox"]
    wanted.clear()
    with app.app_context():
        outbox.enqueue("probe")
        assert not wanted.is_set()
        db.session.rollback()
    with app.app_context():
        commit()
    assert not wanted.is_set()
    enqueue()
    assert wanted.is_set()


def test_a_job_that_is_not_there_is_not_enqueued(app):
    with app.app_context(), pytest.raises(LookupError, match="no job called nothing"):
        outbox.enqueue("nothing")


def test_a_job_that_fails_is_tried_again_later_and_later(
    probe, enqueue, drain, stored, clock, caplog
):
    probe.act = refuse
    enqueue(number=1)
    for attempt, longest in enumerate([10, 20, 40, 80], start=1):
        assert drain() == 1
        assert f"failed, attempt {attempt}" in caplog.text
        [(due_at, attempts)] = stored(select(OutboxItem.due_at, OutboxItem.attempts))
        wait = due_at - datetime.now(UTC)
        assert attempts == attempt
        assert timedelta(seconds=longest / 2) <= wait <= timedelta(seconds=longest)
        clock.shift(wait - timedelta(seconds=1))
        assert drain() == 0
        clock.shift(1)
    probe.act = lambda: None
    assert drain() == 1
    assert probe.seen == [{"number": 1}] * 5
    assert stored(select(OutboxItem.id)) == []


def test_waits_differ_by_chance_and_never_exceed_an_hour(clock):
    assert len({outbox._backoff(3) for _ in range(20)}) > 10
    assert max(outbox._backoff(outbox.ATTEMPTS) for _ in range(100)) <= timedelta(hours=1)


def test_a_failing_job_does_not_keep_others_waiting(probe, enqueue, drain):
    probe.act = lambda: refuse() if probe.seen[-1]["number"] == 0 else None
    for number in range(3):
        enqueue(number=number)
    assert drain() == 3
    assert [payload["number"] for payload in probe.seen] == [0, 1, 2]


def test_a_job_that_always_fails_is_given_up_with_an_error(
    probe, enqueue, drain, stored, clock, caplog
):
    probe.act = refuse
    enqueue(secret="hush")
    for _ in range(outbox.ATTEMPTS):
        assert stored(select(OutboxItem.id)) != []
        assert drain() == 1
        clock.shift(timedelta(hours=1))
    assert drain() == 1
    assert stored(select(OutboxItem.id)) == []
    assert len(probe.seen) == outbox.ATTEMPTS
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "is given up" in errors[0]
    assert "hush" not in caplog.text


def test_what_a_killed_process_had_begun_is_done_by_another_once_its_lease_is_over(
    probe, enqueue, drain, stored, clock
):
    probe.act = die
    enqueue(number=1)
    with pytest.raises(Killed):
        drain()
    probe.act = lambda: None
    assert drain() == 0
    clock.shift(outbox.LEASE)
    assert drain() == 1
    assert probe.seen == [{"number": 1}] * 2
    assert stored(select(OutboxItem.id)) == []


def test_a_job_that_kills_every_process_is_given_up(probe, enqueue, drain, stored, clock):
    probe.act = die
    enqueue()
    for _ in range(outbox.ATTEMPTS):
        with pytest.raises(Killed):
            drain()
        clock.shift(outbox.LEASE)
    assert drain() == 1
    assert len(probe.seen) == outbox.ATTEMPTS
    assert stored(select(OutboxItem.id)) == []


@pytest.mark.parametrize("failure", [refuse, die])
def test_what_a_job_writes_is_there_once_however_often_it_runs(
    probe, enqueue, drain, stored, clock, failure
):
    def write():
        audit.record(Event.data_exported, user_id=7, actor_id=7)
        if len(probe.seen) == 1:
            failure()

    probe.act = write
    enqueue()
    with suppress(Killed):
        drain()
    assert stored(select(AuditEvent.user_id)) == []
    clock.shift(timedelta(hours=1))
    drain()
    assert len(probe.seen) == 2
    assert stored(select(AuditEvent.user_id)) == [(7,)]


def test_a_job_that_outlived_its_lease_leaves_the_item_to_who_has_it_now(
    probe, enqueue, drain, stored
):
    def outlive():
        db.session.execute(update(OutboxItem).values(attempts=2))
        db.session.commit()

    probe.act = outlive
    enqueue()
    assert drain() == 1
    assert stored(select(OutboxItem.attempts)) == [(2,)]


def test_threads_that_drain_at_once_never_do_the_same(app, probe, enqueue, drain, stored):
    for number in range(40):
        enqueue(number=number)
    start = Barrier(4)

    def run(_):
        start.wait()
        return drain()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 40
    assert sorted(payload["number"] for payload in probe.seen) == list(range(40))
    assert stored(select(OutboxItem.id)) == []


def test_nothing_is_held_while_a_job_runs(probe, enqueue, drain, stored):
    def write_elsewhere():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(enqueue, number=2).result(timeout=10)

    probe.act = lambda: write_elsewhere() if len(probe.seen) == 1 else None
    enqueue(number=1)
    assert drain() == 2


def test_an_item_that_only_a_newer_release_can_do_waits_for_it(probe, enqueue, drain, stored):
    enqueue()
    del outbox._handlers["probe"]
    assert drain() == 1
    assert stored(select(OutboxItem.attempts)) == [(1,)]


def test_the_worker_outlives_a_database_that_is_away(app, monkeypatch, caplog):
    monkeypatch.setattr(outbox, "do_next", refuse)
    Worker(app)._drain()
    assert "The outbox can't be read" in caplog.text
