"""What is due is sent to the broker once at a time, and nothing is lost with it."""

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
from app.extensions import db
from app.outbox import celery as outbox_celery
from app.outbox import items, relay, work
from app.outbox.broker import Broker, BrokerAway
from app.outbox.models import OutboxItem
from app.outbox.relay import Relay
from app.outbox.worker import Worker
from app.transactions import commit
from tests.celery import RABBITMQ_URL, needs_rabbitmq
from tests.redis import needs_redis, redis
from tests.waiting import wait_for

START = datetime(2040, 1, 31, 9, tzinfo=UTC)
KIND = "forgotten_password"

pytestmark = needs_redis


@pytest.fixture
def own_redis():
    with redis() as server:
        yield server


@contextmanager
def application(settings, **more):
    made = create_app(settings | more)
    yield made
    with made.app_context():
        db.engine.dispose()


@pytest.fixture
def carrying(app, settings, own_redis):
    """The application, on the same database, with a broker."""
    with application(settings, REDIS_URL=own_redis.url) as made:
        yield made


@pytest.fixture
def broker(carrying):
    made = Broker(carrying.extensions["celery"])
    yield made
    made.close()


@pytest.fixture
def sender(broker):
    return Relay(broker)


@pytest.fixture
def send(carrying, sender):
    def run(by=sender):
        with carrying.app_context():
            return by.send_due()

    return run


@pytest.fixture
def enqueue(carrying):
    def add(count=1):
        with carrying.app_context():
            for _ in range(count):
                work.enqueue(KIND, email="ada@example.com")
            commit()

    return add


@pytest.fixture
def due(stored):
    """Tells how many items are due to be sent."""
    return lambda: len(stored(select(OutboxItem.id).where(OutboxItem.due_at <= datetime.now(UTC))))


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as travelled:
        yield travelled


def test_what_is_due_is_sent_and_not_again_for_a_while(send, broker, enqueue, due, clock):
    enqueue(3)
    assert send() is False
    assert (broker.waiting(), due()) == (3, 0)
    send()
    assert broker.waiting() == 3


def test_what_got_lost_with_the_broker_s_memory_is_sent_again(
    send, broker, enqueue, own_redis, clock
):
    enqueue(2)
    send()
    broker.close()
    own_redis.stop()
    own_redis.start()
    send()
    assert broker.waiting() == 0
    clock.shift(relay.RESEND)
    send()
    assert broker.waiting() == 2


def test_what_is_at_hand_given_up_or_due_later_is_not_sent(
    send, broker, app, enqueue, clock, stored
):
    common = {"kind": KIND, "payload": {}, "attempts": 1, "created_at": START, "due_at": START}
    with app.app_context():
        for values in (
            {"held_until": START + timedelta(seconds=1)},
            {"failed_at": START},
            {"due_at": START + timedelta(seconds=1)},
        ):
            db.session.execute(insert(OutboxItem).values(common | values))
        db.session.commit()
    send()
    assert broker.waiting() == 0
    clock.shift(1)
    send()
    assert broker.waiting() == 2


def test_a_message_names_the_item_and_its_attempt_and_nothing_of_what_it_is_about(
    send, broker, enqueue, carrying, stored
):
    enqueue()
    send()
    celery = carrying.extensions["celery"]
    with celery.connection_for_read() as connection:
        queue = celery.amqp.queues[outbox_celery.QUEUE](connection.default_channel)
        message = queue.get(accept=["json"])
    [(item_id,)] = stored(select(OutboxItem.id))
    assert message.payload[:2] == [[item_id, 0], {}]
    assert "ada" not in str(message.payload) + str(message.headers)


def test_no_more_than_there_is_room_for_waits_at_the_broker(
    send, broker, enqueue, due, monkeypatch
):
    monkeypatch.setattr(relay, "ROOM", 3)
    enqueue(5)
    send()
    send()
    assert (broker.waiting(), due()) == (3, 2)


def test_more_than_a_batch_is_sent_in_several(send, broker, enqueue, monkeypatch):
    monkeypatch.setattr(relay, "BATCH", 2)
    enqueue(3)
    assert send() is True
    assert send() is False
    assert broker.waiting() == 3


def test_processes_that_send_at_once_never_send_the_same(send, broker, enqueue, carrying):
    enqueue(200)
    start = Barrier(4)

    def run(_):
        own = Relay(Broker(carrying.extensions["celery"]))
        start.wait()
        while send(own):
            pass
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert broker.waiting() == 200


class TestBrokerAway:
    def test_items_wait_and_are_sent_once_it_is_back(
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
        assert (broker.waiting(), due()) == (2, 0)
        said = [record.levelname for record in caplog.records if record.name == relay.__name__]
        assert said == ["WARNING", "INFO"]

    def test_what_could_not_be_sent_any_more_is_put_back(
        self, send, sender, broker, enqueue, due, own_redis, monkeypatch
    ):
        sent = broker.send

        def send_one(*item):
            sent(*item)
            own_redis.stop()

        enqueue(3)
        monkeypatch.setattr(broker, "send", send_one)
        assert send() is False
        assert due() == 2

    def test_a_connection_that_broke_is_replaced_at_once(self, send, broker, enqueue, own_redis):
        enqueue()
        send()
        own_redis.stop()
        own_redis.start()
        enqueue()
        send()
        assert broker.waiting() == 1

    @needs_rabbitmq
    def test_a_connection_that_rabbitmq_has_ended_is_replaced_at_once(
        self, settings, enqueue, due, monkeypatch
    ):
        monkeypatch.setattr(outbox_celery, "QUEUE", f"test-{uuid4().hex}")
        with application(settings, CELERY_BROKER_URL=RABBITMQ_URL) as app, app.app_context():
            broker = Broker(app.extensions["celery"])
            sender = Relay(broker)
            enqueue()
            sender.send_due()
            broker._connection.connection.transport.sock.shutdown(SHUT_RDWR)
            enqueue()
            sender.send_due()
            assert (broker.waiting(), due()) == (2, 0)
            broker._producer.channel.queue_delete(outbox_celery.QUEUE)
            sender.close()

    def test_one_that_does_not_answer_is_soon_given_up(self, send, enqueue, due, own_redis):
        enqueue()
        with own_redis.frozen():
            before = time.monotonic()
            assert send() is False
            assert time.monotonic() - before < 10
        assert due() == 1

    @needs_rabbitmq
    def test_rabbitmq_that_refuses_us_is_away_too(self, settings):
        url = RABBITMQ_URL.replace("guest:guest", "guest:wrong")
        with application(settings, CELERY_BROKER_URL=url) as refused:
            with pytest.raises(BrokerAway) as told:
                Broker(refused.extensions["celery"]).waiting()
            assert "wrong" not in str(told.value)


class TestThread:
    @contextmanager
    def running(self, app):
        thread = Worker(app)
        thread.start()
        try:
            yield
        finally:
            thread.stop()

    def test_with_a_broker_it_sends_what_is_enqueued_at_once_and_does_none_of_it(
        self, carrying, broker, enqueue, stored
    ):
        with self.running(carrying):
            before = time.monotonic()
            enqueue(2)
            wait_for(lambda: broker.waiting() == 2, 30)
            assert time.monotonic() - before < 4
        assert stored(select(OutboxItem.attempts)) == [(0,), (0,)]

    def test_without_a_broker_it_does_it_itself(self, app, stored):
        with self.running(app):
            with app.app_context():
                work.enqueue(KIND, email="nobody@example.com")
                commit()
            wait_for(lambda: stored(select(OutboxItem.id)) == [], 30)


def test_a_message_of_an_item_that_was_tried_since_is_passed_by(app, enqueue, stored):
    enqueue()
    [(item_id,)] = stored(select(OutboxItem.id))
    with app.app_context():
        db.session.execute(update(OutboxItem).values(attempts=1))
        db.session.commit()
        assert work.do_sent(item_id, 0) == work.Outcome.passed_by
        assert work.do_sent(item_id, 1) == work.Outcome.done
        assert work.do_sent(item_id, 1) == work.Outcome.passed_by


def test_a_message_of_an_item_that_is_at_hand_is_passed_by(app, enqueue, stored):
    enqueue()
    [(item_id,)] = stored(select(OutboxItem.id))
    with app.app_context():
        assert items.claim_due().attempts == 1
        assert work.do_sent(item_id, 1) == work.Outcome.passed_by
    assert stored(select(OutboxItem.attempts)) == [(1,)]
