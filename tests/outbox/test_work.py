"""The outbox: what is enqueued is done, whatever fails meanwhile."""

import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from celery.exceptions import SoftTimeLimitExceeded
from prometheus_client import REGISTRY
from sqlalchemy import select, text, update

from app.audit import services as audit
from app.audit.models import AuditEvent, Event
from app.extensions import db
from app.logs import ForPrograms
from app.origin import NOWHERE, Origin, coming_from, origin
from app.outbox import items, work
from app.outbox.models import OutboxItem
from app.outbox.worker import Worker
from app.transactions import before_commit, commit

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
    monkeypatch.setitem(work._handlers, "probe", made)
    return made


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as travelled:
        yield travelled


@pytest.fixture
def enqueue(app):
    def add(**payload):
        with app.app_context():
            work.enqueue("probe", **payload)
            commit()

    return add


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
        work.enqueue("probe")
        db.session.rollback()
    assert drain() == 0


def test_a_commit_that_enqueues_wakes_the_worker_and_no_other_does(app, probe, enqueue):
    wanted = app.extensions["outbox"]
    wanted.clear()
    with app.app_context():
        work.enqueue("probe")
        assert not wanted.is_set()
        db.session.rollback()
    with app.app_context():
        commit()
    assert not wanted.is_set()
    enqueue()
    assert wanted.is_set()


def test_a_job_that_is_not_there_is_not_enqueued(app):
    with app.app_context(), pytest.raises(LookupError, match="no job called nothing"):
        work.enqueue("nothing")


def test_a_job_that_fails_is_tried_again_later_and_later(
    probe, enqueue, drain, stored, clock, caplog
):
    probe.act = refuse
    enqueue(number=1)
    for attempt, longest in enumerate([10, 20, 40, 80], start=1):
        assert drain() == 1
        assert f"attempt {attempt}: postponed" in caplog.text
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
    assert len({work._backoff(3) for _ in range(20)}) > 10
    assert max(work._backoff(work.ATTEMPTS) for _ in range(100)) <= timedelta(hours=1)


def test_a_failing_job_does_not_keep_others_waiting(probe, enqueue, drain):
    probe.act = lambda: refuse() if probe.seen[-1]["number"] == 0 else None
    for number in range(3):
        enqueue(number=number)
    assert drain() == 3
    assert [payload["number"] for payload in probe.seen] == [0, 1, 2]


def given_up(stored):
    asked = stored(select(OutboxItem.attempts, OutboxItem.error, OutboxItem.failed_at))
    return [(attempts, error) for attempts, error, failed_at in asked if failed_at]


def test_a_job_that_always_fails_is_given_up_with_an_error_and_stays(
    probe, enqueue, drain, stored, clock, caplog
):
    probe.act = refuse
    enqueue(secret="hush")
    for _ in range(work.ATTEMPTS):
        assert given_up(stored) == []
        assert drain() == 1
        clock.shift(timedelta(hours=1))
    assert drain() == 0
    assert given_up(stored) == [(work.ATTEMPTS, "RuntimeError")]
    assert len(probe.seen) == work.ATTEMPTS
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "given up" in errors[0]
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
    clock.shift(items.LEASE)
    assert drain() == 1
    assert probe.seen == [{"number": 1}] * 2
    assert stored(select(OutboxItem.id)) == []


def test_a_job_that_kills_every_process_is_given_up(probe, enqueue, drain, stored, clock):
    probe.act = die
    enqueue()
    for _ in range(work.ATTEMPTS):
        with pytest.raises(Killed):
            drain()
        clock.shift(items.LEASE)
    assert drain() == 1
    assert len(probe.seen) == work.ATTEMPTS
    assert given_up(stored) == [(work.ATTEMPTS + 1, "ProcessLost")]
    assert drain() == 0


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


def overtake():
    """Have another take over the item at hand, as it may once the lease is over."""
    db.session.execute(update(OutboxItem).values(attempts=OutboxItem.attempts + 1))
    db.session.commit()


@pytest.mark.parametrize("end", [lambda: None, refuse, work.extend], ids=["done", "failed", "long"])
def test_nothing_that_was_written_after_another_took_the_item_over_is_kept(
    probe, enqueue, drain, stored, end, caplog
):
    def outlive():
        overtake()
        audit.record(Event.data_exported, user_id=7, actor_id=7)
        end()

    probe.act = outlive
    enqueue()
    caplog.set_level(logging.INFO)
    assert drain() == 1
    assert stored(select(OutboxItem.attempts, OutboxItem.error)) == [(2, None)]
    assert stored(select(AuditEvent.id)) == []
    assert "passed by" in caplog.text


def test_a_long_job_keeps_what_it_committed_while_the_item_was_its_own(
    probe, enqueue, drain, stored, clock
):
    def two_chunks():
        for number in (1, 2):
            clock.shift(items.LEASE * 0.9)
            work.extend()
            audit.record(Event.data_exported, user_id=number, actor_id=7)
            commit()
            assert items.claim_due() is None
        overtake()
        work.extend()

    probe.act = two_chunks
    enqueue()
    assert drain() == 1
    assert stored(select(AuditEvent.user_id).order_by(AuditEvent.id)) == [(1,), (2,)]


def test_only_a_job_extends(app):
    with app.app_context(), pytest.raises(LookupError):
        work.extend()


class TestOnFailure:
    """What is called when an attempt has failed, in the transaction that notes it."""

    @pytest.fixture
    def told(self, probe, monkeypatch):
        seen = []

        def note(*, final, **payload):
            seen.append((final, payload))
            audit.record(Event.data_exported, user_id=len(seen), actor_id=None)

        monkeypatch.setitem(work._on_failure, "probe", note)
        probe.act = refuse
        return seen

    def test_it_is_told_of_each_and_of_the_last(self, told, enqueue, drain, stored, clock):
        enqueue(number=1)
        for _ in range(work.ATTEMPTS):
            drain()
            clock.shift(timedelta(hours=1))
        assert told == [(False, {"number": 1})] * (work.ATTEMPTS - 1) + [(True, {"number": 1})]
        assert len(stored(select(AuditEvent.id))) == work.ATTEMPTS

    def test_it_is_told_when_every_process_was_lost(self, told, probe, enqueue, drain, clock):
        probe.act = die
        enqueue()
        for _ in range(work.ATTEMPTS):
            with pytest.raises(Killed):
                drain()
            clock.shift(items.LEASE)
        assert told == []
        drain()
        assert told == [(True, {})]

    def test_it_writes_nothing_for_who_lost_the_item(self, told, probe, enqueue, drain, stored):
        def outlive():
            overtake()
            refuse()

        probe.act = outlive
        enqueue()
        drain()
        assert told == []
        assert stored(select(AuditEvent.id)) == []

    def test_if_it_fails_the_item_is_put_off_all_the_same(
        self, told, enqueue, drain, stored, monkeypatch, caplog
    ):
        def fail(**_):
            audit.record(Event.data_exported, user_id=1, actor_id=None)
            refuse()

        monkeypatch.setitem(work._on_failure, "probe", fail)
        enqueue()
        assert drain() == 1
        assert stored(select(OutboxItem.held_until, OutboxItem.error)) == [(None, "RuntimeError")]
        assert stored(select(AuditEvent.id)) == []
        assert "so did telling of it" in caplog.text


def test_a_job_runs_in_the_name_of_the_request_that_caused_it(app, probe, drain, stored, caplog):
    caplog.set_level(logging.INFO)
    seen = []
    probe.act = lambda: seen.append((origin(), format_line()))

    def format_line():
        return ForPrograms().format(logging.LogRecord("x", 20, "", 1, "said", (), None))

    came_from = Origin("192.0.2.7", "curl\n/8 " * 100, "r-1", 7, queries=5)
    with app.app_context(), coming_from(came_from):
        work.enqueue("probe")
        commit()
    drain()
    [(found, line)] = seen
    assert (found.request_id, found.user_id, found.ip_address) == ("r-1", 7, "192.0.2.7")
    assert found.user_agent == came_from.user_agent
    assert found.queries < 5
    assert '"request_id":"r-1"' in line
    assert origin() is NOWHERE


def test_what_only_another_release_knows_of_an_origin_is_left_out(app, probe, drain, enqueue):
    enqueue()
    with app.app_context():
        told = {"request_id": "r-1", "raw_user_agent": "", "planet": "Mars"}
        db.session.execute(update(OutboxItem).values(origin=told))
        db.session.commit()
    seen = []
    probe.act = lambda: seen.append(origin().request_id)
    drain()
    assert seen == ["r-1"]


def test_a_job_that_is_interrupted_in_the_middle_of_a_statement_is_put_off(
    app, probe, enqueue, drain, stored
):
    def interrupt(*_):
        raise SoftTimeLimitExceeded

    def take_long():
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        audit.record(Event.data_exported, user_id=7, actor_id=7)
        if db.engine.dialect.name == "postgresql":
            db.session.execute(text("SELECT pg_sleep(20)"))
        time.sleep(20)

    probe.act = take_long
    enqueue()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        assert drain() == 1
    finally:
        signal.signal(signal.SIGALRM, before)
    assert stored(select(OutboxItem.error, OutboxItem.held_until)) == [
        ("SoftTimeLimitExceeded", None)
    ]
    assert stored(select(AuditEvent.id)) == []


def test_a_job_is_one_line_of_the_log(probe, enqueue, drain, stored, caplog):
    caplog.set_level(logging.INFO)
    probe.act = lambda: refuse() if len(probe.seen) > 1 else None
    enqueue(secret="hush")
    enqueue(secret="hush")
    drain()
    done, failed = [record for record in caplog.records if record.name == "app.outbox.work"]
    assert (done.levelname, done.kind, done.attempt, done.outcome) == ("INFO", "probe", 1, "done")
    assert done.item == done.args[1] < failed.item
    assert done.duration_ms > 0
    assert (failed.levelname, failed.outcome) == ("WARNING", "postponed")
    assert "hush" not in caplog.text


def test_attempts_are_counted_by_kind_and_outcome(probe, enqueue, drain):
    def counted(outcome):
        labels = {"kind": "probe", "outcome": outcome}
        return REGISTRY.get_sample_value("jobs_total", labels) or 0

    before = counted("done"), counted("postponed")
    probe.act = lambda: refuse() if len(probe.seen) > 1 else None
    enqueue()
    enqueue()
    drain()
    assert (counted("done"), counted("postponed")) == (before[0] + 1, before[1] + 1)


def test_no_job_sees_what_another_has_loaded_or_left_behind(probe, enqueue, drain, stored):
    def leave_behind():
        before_commit(lambda _: audit.record(Event.data_exported, user_id=1, actor_id=None))
        refuse()

    probe.act = leave_behind
    enqueue()
    drain()
    assert stored(select(AuditEvent.id)) == []


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
    del work._handlers["probe"]
    assert drain() == 1
    assert stored(select(OutboxItem.attempts)) == [(1,)]


def test_the_worker_outlives_a_database_that_is_away(app, monkeypatch, caplog):
    monkeypatch.setattr(work, "do_next", refuse)
    Worker(app)._see_to_it()
    assert "The outbox can't be read" in caplog.text
