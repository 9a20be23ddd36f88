"""Dispatch of outbox messages, with failures and crashes."""

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
from app.db.transactions import after_commit, commit
from app.extensions import db
from app.observability.logs import JsonFormatter
from app.outbox import dispatcher, leases, queue
from app.outbox.models import OutboxMessage
from app.outbox.thread import OutboxThread
from app.request_context import EMPTY, RequestContext, request_context, use_context
from tests.waiting import wait_for

START = datetime(2040, 1, 31, 9, tzinfo=UTC)


class Probe:
    """A handler that records its payloads and then calls ``act``."""

    def __init__(self):
        self.seen = []
        self.act = lambda: None

    def __call__(self, **payload):
        self.seen.append(payload)
        self.act()


@pytest.fixture
def probe(monkeypatch):
    probe = Probe()
    monkeypatch.setitem(queue.handlers, "probe", queue.Handler(probe))
    return probe


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as frozen:
        yield frozen


@pytest.fixture
def enqueue(app):
    def add(**payload):
        with app.app_context():
            queue.enqueue("probe", **payload)
            commit()

    return add


def fail():
    raise RuntimeError("not now")


class Killed(BaseException):
    """Simulates the end of a process."""


def die():
    raise Killed


def test_messages_are_handled_once_in_order(probe, enqueue, drain, stored):
    for number in range(3):
        enqueue(number=number, word="ü")
    assert probe.seen == []
    assert drain() == 3
    assert probe.seen == [{"number": number, "word": "ü"} for number in range(3)]
    assert stored(select(OutboxMessage.id)) == []
    assert drain() == 0


def test_rolled_back_message_is_not_handled(app, probe, drain):
    with app.app_context():
        queue.enqueue("probe")
        db.session.rollback()
    assert drain() == 0


def test_commit_of_message_wakes_thread(app, probe, enqueue):
    wake_up = queue.new_messages
    wake_up.clear()
    with app.app_context():
        queue.enqueue("probe")
        assert not wake_up.is_set()
        db.session.rollback()
    with app.app_context():
        commit()
    assert not wake_up.is_set()
    enqueue()
    assert wake_up.is_set()


def test_message_without_handler_is_not_enqueued(app):
    with app.app_context(), pytest.raises(LookupError, match="no handler for nothing"):
        queue.enqueue("nothing")


def test_failed_message_is_retried_with_backoff(probe, enqueue, drain, stored, clock, caplog):
    probe.act = fail
    enqueue(number=1)
    for attempt, max_delay in enumerate([10, 20, 40, 80], start=1):
        assert drain() == 1
        assert f"attempt {attempt}: postponed" in caplog.text
        [(due_at, attempts)] = stored(select(OutboxMessage.due_at, OutboxMessage.attempts))
        delay = due_at - datetime.now(UTC)
        assert attempts == attempt
        assert timedelta(seconds=max_delay / 2) <= delay <= timedelta(seconds=max_delay)
        clock.shift(delay - timedelta(seconds=1))
        assert drain() == 0
        clock.shift(1)
    probe.act = lambda: None
    assert drain() == 1
    assert probe.seen == [{"number": 1}] * 5
    assert stored(select(OutboxMessage.id)) == []


def test_backoff_has_jitter_and_a_maximum(clock):
    assert len({dispatcher._backoff(3) for _ in range(20)}) > 10
    assert max(dispatcher._backoff(dispatcher.MAX_ATTEMPTS) for _ in range(100)) <= timedelta(
        hours=1
    )


def test_failing_message_does_not_delay_others(probe, enqueue, drain):
    probe.act = lambda: fail() if probe.seen[-1]["number"] == 0 else None
    for number in range(3):
        enqueue(number=number)
    assert drain() == 3
    assert [payload["number"] for payload in probe.seen] == [0, 1, 2]


def dead_messages(stored):
    """Return the attempts and errors of dead messages."""
    rows = stored(select(OutboxMessage.attempts, OutboxMessage.error, OutboxMessage.failed_at))
    return [(attempts, error) for attempts, error, failed_at in rows if failed_at]


def test_message_is_dead_after_many_failures(probe, enqueue, drain, stored, clock, caplog):
    probe.act = fail
    enqueue(secret="hush")
    for _ in range(dispatcher.MAX_ATTEMPTS):
        assert dead_messages(stored) == []
        assert drain() == 1
        clock.shift(timedelta(hours=1))
    assert drain() == 0
    assert dead_messages(stored) == [(dispatcher.MAX_ATTEMPTS, "RuntimeError")]
    assert len(probe.seen) == dispatcher.MAX_ATTEMPTS
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "dead" in errors[0]
    assert "hush" not in caplog.text


def test_message_of_killed_process_is_retried_after_its_lease(probe, enqueue, drain, stored, clock):
    probe.act = die
    enqueue(number=1)
    with pytest.raises(Killed):
        drain()
    probe.act = lambda: None
    assert drain() == 0
    clock.shift(leases.LEASE)
    assert drain() == 1
    assert probe.seen == [{"number": 1}] * 2
    assert stored(select(OutboxMessage.id)) == []


def test_message_that_kills_every_process_is_dead(probe, enqueue, drain, stored, clock):
    probe.act = die
    enqueue()
    for _ in range(dispatcher.MAX_ATTEMPTS):
        with pytest.raises(Killed):
            drain()
        clock.shift(leases.LEASE)
    assert drain() == 1
    assert len(probe.seen) == dispatcher.MAX_ATTEMPTS
    assert dead_messages(stored) == [(dispatcher.MAX_ATTEMPTS + 1, "WorkerCrashed")]
    assert drain() == 0


@pytest.mark.parametrize("failure", [fail, die])
def test_writes_of_failed_attempts_are_rolled_back(probe, enqueue, drain, stored, clock, failure):
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


def lose_lease():
    """Simulate that another process leased the message after the lease expired."""
    db.session.execute(update(OutboxMessage).values(attempts=OutboxMessage.attempts + 1))
    db.session.commit()


@pytest.mark.parametrize(
    "end", [lambda: None, fail, leases.renew_lease], ids=["done", "failed", "renewed"]
)
def test_writes_after_a_lost_lease_are_rolled_back(probe, enqueue, drain, stored, end, caplog):
    def write_after_losing_lease():
        lose_lease()
        audit.record(Event.data_exported, user_id=7, actor_id=7)
        end()

    probe.act = write_after_losing_lease
    enqueue()
    caplog.set_level(logging.INFO)
    assert drain() == 1
    assert stored(select(OutboxMessage.attempts, OutboxMessage.error)) == [(2, None)]
    assert stored(select(AuditEvent.id)) == []
    assert "skipped" in caplog.text


def test_commits_before_a_lost_lease_are_kept(probe, enqueue, drain, stored, clock):
    def write_two_chunks():
        for number in (1, 2):
            clock.shift(leases.LEASE * 0.9)
            leases.renew_lease()
            audit.record(Event.data_exported, user_id=number, actor_id=7)
            commit()
            assert leases.lease_due() is None
        lose_lease()
        leases.renew_lease()

    probe.act = write_two_chunks
    enqueue()
    assert drain() == 1
    assert stored(select(AuditEvent.user_id).order_by(AuditEvent.id)) == [(1,), (2,)]


def test_lease_cannot_be_renewed_outside_a_handler(app):
    with app.app_context(), pytest.raises(LookupError):
        leases.renew_lease()


class TestOnFailure:
    """The failure callback, in the transaction that records the failure."""

    @pytest.fixture
    def calls(self, probe, monkeypatch):
        seen = []

        def on_failure(*, final, **payload):
            seen.append((final, payload))
            audit.record(Event.data_exported, user_id=len(seen), actor_id=None)

        monkeypatch.setitem(queue.handlers, "probe", queue.Handler(probe, on_failure))
        probe.act = fail
        return seen

    def test_it_is_called_for_each_failure(self, calls, enqueue, drain, stored, clock):
        enqueue(number=1)
        for _ in range(dispatcher.MAX_ATTEMPTS):
            drain()
            clock.shift(timedelta(hours=1))
        assert calls == [(False, {"number": 1})] * (dispatcher.MAX_ATTEMPTS - 1) + [
            (True, {"number": 1})
        ]
        assert len(stored(select(AuditEvent.id))) == dispatcher.MAX_ATTEMPTS

    def test_it_is_called_when_every_process_crashed(self, calls, probe, enqueue, drain, clock):
        probe.act = die
        enqueue()
        for _ in range(dispatcher.MAX_ATTEMPTS):
            with pytest.raises(Killed):
                drain()
            clock.shift(leases.LEASE)
        assert calls == []
        drain()
        assert calls == [(True, {})]

    def test_it_is_not_called_after_a_lost_lease(self, calls, probe, enqueue, drain, stored):
        def fail_after_losing_lease():
            lose_lease()
            fail()

        probe.act = fail_after_losing_lease
        enqueue()
        drain()
        assert calls == []
        assert stored(select(AuditEvent.id)) == []

    def test_if_it_fails_the_message_is_retried_anyway(
        self, calls, probe, enqueue, drain, stored, monkeypatch, caplog
    ):
        def fail_too(**_):
            audit.record(Event.data_exported, user_id=1, actor_id=None)
            fail()

        monkeypatch.setitem(queue.handlers, "probe", queue.Handler(probe, fail_too))
        enqueue()
        assert drain() == 1
        assert stored(select(OutboxMessage.locked_until, OutboxMessage.error)) == [
            (None, "RuntimeError")
        ]
        assert stored(select(AuditEvent.id)) == []
        assert "failure callback of probe" in caplog.text


def test_handler_runs_in_the_context_of_its_request(app, probe, drain, stored, caplog):
    caplog.set_level(logging.INFO)
    seen = []
    probe.act = lambda: seen.append((request_context(), format_line()))

    def format_line():
        return JsonFormatter().format(logging.LogRecord("x", 20, "", 1, "said", (), None))

    context = RequestContext("192.0.2.7", "curl\n/8 " * 100, "r-1", 7, queries=5)
    with app.app_context(), use_context(context):
        queue.enqueue("probe")
        commit()
    drain()
    [(restored, line)] = seen
    assert (restored.request_id, restored.user_id, restored.ip_address) == ("r-1", 7, "192.0.2.7")
    assert restored.user_agent == context.user_agent
    assert restored.queries < 5
    assert '"request_id":"r-1"' in line
    assert request_context() is EMPTY


def test_unknown_fields_of_origin_are_ignored(app, probe, drain, enqueue):
    enqueue()
    with app.app_context():
        origin = {"request_id": "r-1", "raw_user_agent": "", "planet": "Mars"}
        db.session.execute(update(OutboxMessage).values(origin=origin))
        db.session.commit()
    seen = []
    probe.act = lambda: seen.append(request_context().request_id)
    drain()
    assert seen == ["r-1"]


def test_handler_interrupted_in_a_statement_is_retried(app, probe, enqueue, drain, stored):
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
    assert stored(select(OutboxMessage.error, OutboxMessage.locked_until)) == [
        ("SoftTimeLimitExceeded", None)
    ]
    assert stored(select(AuditEvent.id)) == []


def test_attempt_is_logged(probe, enqueue, drain, stored, caplog):
    caplog.set_level(logging.INFO)
    probe.act = lambda: fail() if len(probe.seen) > 1 else None
    enqueue(secret="hush")
    enqueue(secret="hush")
    drain()
    done, failed = [record for record in caplog.records if record.name == "app.outbox.dispatcher"]
    assert (done.levelname, done.message_type, done.attempt, done.outcome) == (
        "INFO",
        "probe",
        1,
        "done",
    )
    assert done.message_id == done.args[1] < failed.message_id
    assert done.duration_ms > 0
    assert (failed.levelname, failed.outcome) == ("WARNING", "postponed")
    assert "hush" not in caplog.text


def test_attempts_are_counted_by_type_and_outcome(probe, enqueue, drain):
    def counted(outcome):
        labels = {"type": "probe", "outcome": outcome}
        return REGISTRY.get_sample_value("outbox_messages_total", labels) or 0

    before = counted("done"), counted("postponed")
    probe.act = lambda: fail() if len(probe.seen) > 1 else None
    enqueue()
    enqueue()
    drain()
    assert (counted("done"), counted("postponed")) == (before[0] + 1, before[1] + 1)


def test_failed_attempt_leaves_no_callback_to_the_next_commit(probe, enqueue, drain):
    called = []

    def register_and_fail():
        after_commit(lambda: called.append(True))
        fail()

    probe.act = register_and_fail
    enqueue()
    drain()
    assert called == []


def test_concurrent_threads_handle_each_message_once(app, probe, enqueue, drain, stored):
    for number in range(40):
        enqueue(number=number)
    start = Barrier(4)

    def run(_):
        start.wait()
        return drain()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 40
    assert sorted(payload["number"] for payload in probe.seen) == list(range(40))
    assert stored(select(OutboxMessage.id)) == []


def test_no_lock_is_held_while_a_handler_runs(probe, enqueue, drain, stored):
    def write_elsewhere():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(enqueue, number=2).result(timeout=10)

    probe.act = lambda: write_elsewhere() if len(probe.seen) == 1 else None
    enqueue(number=1)
    assert drain() == 2


def test_message_without_handler_is_retried(probe, enqueue, drain, stored):
    enqueue()
    del queue.handlers["probe"]
    assert drain() == 1
    assert stored(select(OutboxMessage.attempts)) == [(1,)]


def test_thread_survives_an_unavailable_database(app, monkeypatch, caplog):
    monkeypatch.setattr(dispatcher, "dispatch_next", fail)
    thread = OutboxThread(app)
    thread.ensure_started()
    wait_for(lambda: "The outbox cannot be read" in caplog.text, 10)
    thread.stop()
    assert "The outbox cannot be read" in caplog.text
