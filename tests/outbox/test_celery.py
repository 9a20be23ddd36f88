"""Celery workers and beat, with real brokers."""

import json
import os
import re
import signal
import ssl
from datetime import timedelta
from uuid import uuid4

import pytest
from celery import current_app
from redis import Redis
from sqlalchemy import select

from app import create_app
from app.audit.models import AuditEvent
from app.db.transactions import commit
from app.extensions import db
from app.outbox import celery as outbox_celery
from app.outbox import relay
from app.outbox.broker import Broker
from app.outbox.models import OutboxMessage
from app.outbox.queue import enqueue as enqueue_message
from app.outbox.relay import Relay
from app.request_context import RequestContext, use_context
from benchmarks.server import ROOT
from tests.celery import RABBITMQ_URL, beat, needs_rabbitmq, worker
from tests.conftest import SECRET
from tests.outbox import probes  # noqa: F401  # registers the handlers
from tests.problems import assert_problem
from tests.redis import needs_redis, redis
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def own_redis():
    with redis() as server:
        yield server


REDIS = pytest.param("redis", marks=needs_redis)
RABBITMQ = pytest.param("rabbitmq", marks=[needs_redis, needs_rabbitmq])
with_redis = pytest.mark.parametrize("broker_url", [REDIS], indirect=True)
with_rabbitmq = pytest.mark.parametrize("broker_url", [RABBITMQ], indirect=True)


@pytest.fixture(params=[REDIS, RABBITMQ])
def broker_url(request):
    return request.getfixturevalue("own_redis").url if request.param == "redis" else RABBITMQ_URL


@pytest.fixture
def queue(monkeypatch):
    """A queue that only this test uses."""
    name = f"test-{uuid4().hex}"
    monkeypatch.setattr(outbox_celery, "QUEUE", name)
    return name


@pytest.fixture
def broker_app(app, settings, own_redis, broker_url, queue):
    """The application, on the same database, with a broker."""
    with Redis.from_url(own_redis.url) as connection:
        connection.flushdb()
    application = create_app(
        settings | {"REDIS_URL": own_redis.url, "CELERY_BROKER_URL": broker_url}
    )
    yield application
    celery = application.extensions["celery"]
    with celery.connection_for_write() as connection:
        celery.amqp.queues[queue](connection.default_channel).delete()
    with application.app_context():
        db.engine.dispose()


@pytest.fixture
def environ(settings, own_redis, broker_url, queue, tmp_path):
    """Environment of a worker."""
    return {
        "FLASK_CONFIG": "development",
        "DATABASE_URL": settings["DATABASE_URL"],
        "INSTANCE_PATH": str(tmp_path),
        "SECRET_KEY": settings["SECRET_KEY"],
        "JWT_SECRET_KEY": settings["JWT_SECRET_KEY"],
        "REDIS_URL": own_redis.url,
        "CELERY_BROKER_URL": broker_url,
        "LOG_FORMAT": "json",
        "PROBE_QUEUE": queue,
    }


@pytest.fixture
def probing(tmp_path, environ):
    """Run a worker with the test handlers."""

    def run(size=1):
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        return worker(folder, environ, "tests.outbox.probe_worker:celery", size)

    return run


@pytest.fixture
def sender(broker_app):
    relay = Relay(Broker(broker_app.extensions["celery"]))
    yield relay
    relay.close()


@pytest.fixture
def enqueue(broker_app):
    def add(message_type, **payload):
        with broker_app.app_context(), use_context(RequestContext(request_id="r-1")):
            enqueue_message(message_type, **payload)
            commit()

    return add


def stored_results(server):
    """Return the stored results, which expire within an hour."""
    with Redis.from_url(server.url) as connection:
        names = connection.keys("celery-task-meta-*")
        assert all(0 < connection.ttl(name) <= 3600 for name in names)
        return [json.loads(connection.get(name))["result"] for name in names]


def lines(celery):
    """Return the log records of the dispatcher."""
    records = [json.loads(line) for line in celery.output().splitlines() if line.startswith("{")]
    return [line for line in records if line["logger"] == "app.outbox.dispatcher"]


def test_applications_have_their_own_celery_app(app, settings):
    other = create_app(settings | {"CELERY_BROKER_URL": "amqp://u:p@127.0.0.1:1/other"})
    first, second = app.extensions["celery"], other.extensions["celery"]
    assert first is not second
    assert (first.conf.broker_url, second.conf.broker_url) == (
        "memory://",
        "amqp://u:p@127.0.0.1:1/other",
    )
    for celery in (first, second):
        celery.finalize()
        assert {name for name in celery.tasks if not name.startswith("celery.")} == {
            "outbox.handle_message",
            "outbox.run_periodic",
        }
    assert first.tasks["outbox.handle_message"].run is not second.tasks["outbox.handle_message"].run
    assert current_app._get_current_object() not in (first, second)
    with other.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("amqps://broker/v", {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}),
        ("rediss://broker/1", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("redis://broker/1", False),
    ],
)
def test_certificate_of_broker_is_verified(app, settings, url, options):
    broker_app = create_app(
        settings | {"CELERY_BROKER_URL": url, "REDIS_URL": "rediss://results/0"}
    )
    celery = broker_app.extensions["celery"]
    assert celery.conf.broker_use_ssl == options
    assert celery.backend.connparams["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    with broker_app.app_context():
        db.engine.dispose()


def test_pool_process_drops_inherited_connections(app, settings):
    broker_app = create_app(settings | {"CELERY_BROKER_URL": "redis://127.0.0.1:1"})
    with broker_app.app_context():
        db.session.execute(select(OutboxMessage.id))
        db.session.rollback()
        inherited = db.engine.pool
        assert inherited.checkedin() == 1
        broker_app.extensions["celery"].loader.init_worker_process()
        assert db.engine.pool is not inherited
        assert inherited.checkedin() == 1
        inherited.dispose()
        db.engine.dispose()


def test_without_a_broker_neither_worker_nor_beat_starts(app):
    loader = app.extensions["celery"].loader
    with pytest.raises(SystemExit, match="There is no broker: set REDIS_URL or CELERY_BROKER_URL"):
        loader.init_worker()


class TestWorker:
    @pytest.fixture
    def send(self, broker_app, sender):
        def run():
            with broker_app.app_context():
                sender.send_due()

        return run

    @pytest.fixture
    def events(self, stored):
        return lambda: [row for (row,) in stored(select(AuditEvent.user_id))]

    @pytest.fixture
    def is_empty(self, stored):
        return lambda: stored(select(OutboxMessage.id)) == []

    def test_each_message_is_handled_once_with_its_request_id(
        self, probing, enqueue, send, events, is_empty, broker_app, sender, own_redis
    ):
        for number in range(20):
            enqueue("probe.write", number=number)
        send()
        with broker_app.app_context():
            # Send each message twice, and one that does not exist.
            message_ids = [row for (row,) in db.session.execute(select(OutboxMessage.id))]
        for message_id in [*message_ids, 10**9]:
            sender._broker.send(message_id, 0)
        with probing(size=2) as one, probing(size=2) as two:
            wait_for(is_empty, 60)
            wait_for(lambda: sender._broker.count_waiting() == 0, 60)
            assert (one.stop(), two.stop()) == (0, 0)
        assert sorted(events()) == list(range(20))
        attempts = lines(one) + lines(two)
        assert {(line["message_type"], line["outcome"], line["attempt"], line["request_id"])
                for line in attempts} == {("probe.write", "done", 1, "r-1")}  # fmt: skip
        assert sorted(line["message_id"] for line in attempts) == sorted(message_ids)
        assert sorted(stored_results(own_redis)) == ["done"] * 20 + ["skipped"] * 21
        output = one.output() + two.output()
        assert SECRET not in output
        assert "guest:guest" not in output

    @with_rabbitmq
    def test_message_of_killed_worker_is_handled_by_another(
        self, probing, enqueue, send, events, is_empty, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(relay, "RESEND_AFTER", timedelta(seconds=1))
        enqueue("probe.stall", folder=str(tmp_path))
        send()
        with probing() as one:
            wait_for((tmp_path / "attempt-0").exists, 60)
            one.kill()
        assert events() == []

        def send_and_check_empty():
            send()
            return is_empty()

        with probing() as two:
            wait_for(send_and_check_empty, 60)
            assert two.stop() == 0
        [line] = lines(two)
        assert (line["attempt"], line["outcome"]) == (2, "done")
        assert events() == [1]

    @with_redis
    def test_killed_pool_process_is_replaced(
        self, probing, enqueue, send, events, is_empty, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(relay, "RESEND_AFTER", timedelta(seconds=1))
        enqueue("probe.stall", folder=str(tmp_path))
        send()

        def send_and_check_empty():
            send()
            return is_empty()

        with probing() as celery:
            wait_for((tmp_path / "attempt-0").exists, 60)
            [child] = celery.pool()
            os.kill(child, signal.SIGKILL)
            wait_for(send_and_check_empty, 60)
        assert events() == [1]

    @with_redis
    def test_stopping_worker_finishes_its_message(
        self, probing, enqueue, send, events, is_empty, tmp_path
    ):
        enqueue("probe.linger", folder=str(tmp_path))
        send()
        with probing() as celery:
            wait_for((tmp_path / "lingering").exists, 60)
            celery.process.send_signal(signal.SIGTERM)
            (tmp_path / "go").touch()
            assert celery.process.wait(timeout=60) == 0
        assert is_empty()
        assert events() == [1]


# Lines of Celery that are not JSON: its warning about the root user, and its shutdown message.
PLAIN_LINES = ("absolutely", "Please", "User info", "  _warn", "worker: Warm shutdown")


@with_redis
def test_beat_runs_periodic_tasks_and_writes_no_file(probing, tmp_path, environ, broker_app):
    def state_of_workers():
        result = broker_app.test_cli_runner().invoke(args=["doctor"])
        return re.search(r"(?m)^worker: (.*)$", result.output)[1]

    assert state_of_workers() == "failing"
    before = sorted(path.name for path in ROOT.iterdir())
    with probing() as celery, beat(tmp_path, environ, "tests.outbox.probe_worker:celery") as timer:
        # The task runs when beat starts, and again after a second.
        wait_for(lambda: celery.output().count("probe_worker.tick: done") > 1, 60)
        assert state_of_workers() == "ok"
        assert timer.stop() == 0
        assert celery.stop() == 0
    assert sorted(path.name for path in ROOT.iterdir()) == before
    for line in timer.output().splitlines() + celery.output().splitlines():
        if "celery/platforms.py" in line or line.startswith("{"):
            continue
        assert not line or line.startswith(PLAIN_LINES)


@needs_redis
def test_readiness_includes_broker(app, settings):
    with redis() as server:
        broker_app = create_app(settings | {"CELERY_BROKER_URL": server.url})
        client = broker_app.test_client()
        parts = {"database": "ok", "migrations": "ok", "outbox": "ok", "broker": "ok"}
        assert client.get("/health/ready").json["parts"] == parts
        with server.frozen():
            response = client.get("/health/ready")
        assert_problem(response, 503, "unavailable", parts=parts | {"broker": "failing"})
    with broker_app.app_context():
        db.engine.dispose()
