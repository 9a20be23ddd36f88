"""Relay of due messages to the broker, and loss of the broker."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from socket import SHUT_RDWR
from threading import Barrier
from uuid import uuid4

import pytest
import time_machine
from sqlalchemy import insert, select, update

from app import create_app
from app.db.transactions import commit
from app.extensions import db
from app.outbox import celery as outbox_celery
from app.outbox import dispatcher, leases, queue, relay
from app.outbox.broker import Broker, BrokerUnavailable
from app.outbox.models import OutboxMessage
from app.outbox.relay import Relay
from app.outbox.thread import OutboxThread
from tests.celery import RABBITMQ_URL, needs_rabbitmq
from tests.redis import needs_redis, redis
from tests.waiting import wait_for

START = datetime(2040, 1, 31, 9, tzinfo=UTC)
TYPE = "forgotten_password"

pytestmark = needs_redis


@pytest.fixture
def own_redis():
    with redis() as server:
        yield server


@contextmanager
def application(settings, **extra):
    app = create_app(settings | extra)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def broker_app(app, settings, own_redis):
    """The application, on the same database, with a broker."""
    with application(settings, REDIS_URL=own_redis.url) as broker_app:
        yield broker_app


@pytest.fixture
def broker(broker_app):
    broker = Broker(broker_app.extensions["celery"])
    yield broker
    broker.close()


@pytest.fixture
def sender(broker):
    return Relay(broker)


@pytest.fixture
def send(broker_app, sender):
    def run(relay=sender):
        with broker_app.app_context():
            return relay.send_due()

    return run


@pytest.fixture
def enqueue(broker_app):
    def add(count=1):
        with broker_app.app_context():
            for _ in range(count):
                queue.enqueue(TYPE, email="ada@example.com")
            commit()

    return add


@pytest.fixture
def due(stored):
    """Count the messages that are due to be sent."""
    return lambda: len(
        stored(select(OutboxMessage.id).where(OutboxMessage.due_at <= datetime.now(UTC)))
    )


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as frozen:
        yield frozen


def test_due_message_is_sent_once(send, broker, enqueue, due, clock):
    enqueue(3)
    assert send() is False
    assert (broker.count_waiting(), due()) == (3, 0)
    send()
    assert broker.count_waiting() == 3


def test_message_lost_by_broker_is_sent_again(send, broker, enqueue, own_redis, clock):
    enqueue(2)
    send()
    broker.close()
    own_redis.stop()
    own_redis.start()
    send()
    assert broker.count_waiting() == 0
    clock.shift(relay.RESEND_AFTER)
    send()
    assert broker.count_waiting() == 2


def test_leased_dead_and_future_messages_are_not_sent(send, broker, app, enqueue, clock, stored):
    common = {"type": TYPE, "payload": {}, "attempts": 1, "created_at": START, "due_at": START}
    with app.app_context():
        for values in (
            {"locked_until": START + timedelta(seconds=1)},
            {"failed_at": START},
            {"due_at": START + timedelta(seconds=1)},
        ):
            db.session.execute(insert(OutboxMessage).values(common | values))
        db.session.commit()
    send()
    assert broker.count_waiting() == 0
    clock.shift(1)
    send()
    assert broker.count_waiting() == 2


def test_broker_gets_id_and_attempts_only(send, broker, enqueue, broker_app, stored):
    enqueue()
    send()
    celery = broker_app.extensions["celery"]
    with celery.connection_for_read() as connection:
        queue = celery.amqp.queues[outbox_celery.QUEUE](connection.default_channel)
        message = queue.get(accept=["json"])
    [(message_id,)] = stored(select(OutboxMessage.id))
    assert message.payload[:2] == [[message_id, 0], {}]
    assert "ada" not in str(message.payload) + str(message.headers)


def test_number_of_messages_at_broker_is_limited(send, broker, enqueue, due, monkeypatch):
    monkeypatch.setattr(relay, "MAX_WAITING", 3)
    enqueue(5)
    send()
    send()
    assert (broker.count_waiting(), due()) == (3, 2)


def test_messages_are_sent_in_batches(send, broker, enqueue, monkeypatch):
    monkeypatch.setattr(relay, "BATCH_SIZE", 2)
    enqueue(3)
    assert send() is True
    assert send() is False
    assert broker.count_waiting() == 3


def test_concurrent_relays_send_each_message_once(send, broker, enqueue, broker_app):
    enqueue(200)
    start = Barrier(4)

    def run(_):
        own = Relay(Broker(broker_app.extensions["celery"]))
        start.wait()
        while send(own):
            pass
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert broker.count_waiting() == 200


class TestBrokerUnavailable:
    def test_messages_wait_until_it_is_available(
        self, send, broker, enqueue, due, own_redis, caplog
    ):
        caplog.set_level(logging.INFO)
        own_redis.stop()
        enqueue(2)
        assert send() is False
        assert send() is False
        assert due() == 2
        own_redis.start()
        send()
        assert (broker.count_waiting(), due()) == (2, 0)
        levels = [record.levelname for record in caplog.records if record.name == relay.__name__]
        assert levels == ["WARNING", "INFO"]

    def test_unsent_messages_are_due_again(
        self, send, sender, broker, enqueue, due, own_redis, monkeypatch
    ):
        original_send = broker.send

        def send_one(*item):
            original_send(*item)
            own_redis.stop()

        enqueue(3)
        monkeypatch.setattr(broker, "send", send_one)
        assert send() is False
        assert due() == 2

    def test_lost_connection_is_replaced(self, send, broker, enqueue, own_redis):
        enqueue()
        send()
        own_redis.stop()
        own_redis.start()
        enqueue()
        send()
        assert broker.count_waiting() == 1

    @needs_rabbitmq
    def test_connection_closed_by_rabbitmq_is_replaced(self, settings, enqueue, due, monkeypatch):
        monkeypatch.setattr(outbox_celery, "QUEUE", f"test-{uuid4().hex}")
        with application(settings, CELERY_BROKER_URL=RABBITMQ_URL) as app, app.app_context():
            broker = Broker(app.extensions["celery"])
            sender = Relay(broker)
            enqueue()
            sender.send_due()
            broker._connection.connection.transport.sock.shutdown(SHUT_RDWR)
            enqueue()
            sender.send_due()
            assert (broker.count_waiting(), due()) == (2, 0)
            broker._connection.default_channel.queue_delete(outbox_celery.QUEUE)
            sender.close()

    def test_frozen_broker_times_out(self, send, enqueue, due, own_redis):
        enqueue()
        with own_redis.frozen():
            before = time.monotonic()
            assert send() is False
            assert time.monotonic() - before < 10
        assert due() == 1

    @needs_rabbitmq
    def test_rejected_credentials_count_as_unavailable(self, settings):
        url = RABBITMQ_URL.replace("guest:guest", "guest:wrong")
        with application(settings, CELERY_BROKER_URL=url) as app:
            with pytest.raises(BrokerUnavailable) as raised:
                Broker(app.extensions["celery"]).count_waiting()
            assert "wrong" not in str(raised.value)


class TestThread:
    @contextmanager
    def running(self, app):
        thread = OutboxThread(app)
        thread.ensure_started()
        try:
            yield
        finally:
            thread.stop()

    def test_with_broker_thread_only_sends(self, broker_app, broker, enqueue, stored):
        with self.running(broker_app):
            before = time.monotonic()
            enqueue(2)
            wait_for(lambda: broker.count_waiting() == 2, 30)
            assert time.monotonic() - before < 4
        assert stored(select(OutboxMessage.attempts)) == [(0,), (0,)]

    def test_without_broker_thread_handles_messages(self, app, stored):
        with self.running(app):
            with app.app_context():
                queue.enqueue(TYPE, email="nobody@example.com")
                commit()
            wait_for(lambda: stored(select(OutboxMessage.id)) == [], 30)


def test_message_attempted_since_it_was_sent_is_skipped(app, enqueue, stored):
    enqueue()
    [(message_id,)] = stored(select(OutboxMessage.id))
    with app.app_context():
        db.session.execute(update(OutboxMessage).values(attempts=1))
        db.session.commit()
        assert dispatcher.dispatch_sent(message_id, 0) == dispatcher.Outcome.skipped
        assert dispatcher.dispatch_sent(message_id, 1) == dispatcher.Outcome.done
        assert dispatcher.dispatch_sent(message_id, 1) == dispatcher.Outcome.skipped


def test_leased_message_is_skipped(app, enqueue, stored):
    enqueue()
    [(message_id,)] = stored(select(OutboxMessage.id))
    with app.app_context():
        assert leases.lease_due().attempts == 1
        assert dispatcher.dispatch_sent(message_id, 1) == dispatcher.Outcome.skipped
    assert stored(select(OutboxMessage.attempts)) == [(1,)]
