"""A running server and a Celery worker while the broker or the database is down."""

import json
import os
import time
from datetime import timedelta

import pytest
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from app.audit.models import AuditEvent
from app.db.transactions import commit
from app.extensions import db
from app.outbox import celery as outbox_celery
from app.outbox import queue, relay
from app.outbox.broker import Broker
from app.outbox.models import OutboxMessage
from app.outbox.relay import Relay
from benchmarks.server import Client, started
from tests.celery import worker
from tests.conftest import ROOT
from tests.outbox import probes  # noqa: F401  # registers handlers
from tests.redis import needs_redis, redis
from tests.security import cluster
from tests.smtp import listening

POSTGRES = os.environ.get("TEST_DATABASE_URL")
ACCOUNT = {"username": "ada", "email": "ada@example.com", "password": "correct horse battery"}

pytestmark = needs_redis


def lines_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_broker_outage_delays_mail_but_not_responses(tmp_path):
    with redis() as broker, listening() as mailbox:
        settings = {
            "REDIS_URL": broker.url,
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": str(mailbox.port),
            "MAIL_USE_TLS": "0",
            "LOG_FORMAT": "json",
        }
        with started(POSTGRES, **settings) as server, Client(server.port) as client:
            client.headers["X-Request-ID"] = "r-77"
            broker.stop()
            before = time.monotonic()
            assert client.call("POST", "/auth/register", ACCOUNT)[0] == 201
            assert time.monotonic() - before < 5
            broker.start()
            with worker(tmp_path, server.environ) as celery:
                assert mailbox.wait()["To"] == ACCOUNT["email"]
                celery.wait_for('"outcome":"done"')
                assert celery.stop() == 0
            assert len(mailbox.received) == 1
            requests = [line for line in lines_of(server.log.read_text()) if "route" in line]
        lines = lines_of(celery.output())
        done = [line for line in lines if line.get("message_type") == "mailed_token"]
        assert [(line["outcome"], line["request_id"]) for line in done] == [("done", "r-77")]
        assert any(line["request_id"] == "r-77" and line["status"] == 201 for line in requests)
        for secret in (ACCOUNT["password"], ACCOUNT["email"]):
            assert secret not in celery.output()


@pytest.fixture
def restartable(settings, tmp_path, monkeypatch):
    """An application on a PostgreSQL that the test can stop, and the environment of its worker."""
    with cluster.cluster() as postgresql, redis() as broker:
        monkeypatch.setattr(outbox_celery, "QUEUE", "probes")
        monkeypatch.setattr(relay, "RESEND_AFTER", timedelta(seconds=1))
        urls = {"DATABASE_URL": postgresql.url, "CELERY_BROKER_URL": broker.url}
        app = create_app(settings | urls)
        with app.app_context():
            upgrade(directory=str(ROOT / "migrations"))
        yield app, postgresql, urls | {"INSTANCE_PATH": str(tmp_path), "PROBE_QUEUE": "probes"}
        with app.app_context():
            db.engine.dispose()


@pytest.mark.skipif(not POSTGRES, reason="tests PostgreSQL")
@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="needs PostgreSQL's programs"
)
def test_worker_survives_a_restart_of_postgresql(restartable, tmp_path):
    app, postgresql, environ = restartable
    sender = Relay(Broker(app.extensions["celery"]))
    with app.app_context(), worker(tmp_path, environ, "tests.outbox.probe_worker:celery") as celery:
        queue.enqueue("probe.linger", folder=str(tmp_path))
        commit()
        sender.send_due()
        deadline = time.monotonic() + 60
        while not (tmp_path / "lingering").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pool = celery.pool()
        postgresql.stop()
        (tmp_path / "go").touch()
        # The worker can record neither the end nor the failure of the message.
        celery.wait_for("raised unexpected")
        postgresql.start()
        while db.session.execute(select(OutboxMessage.id)).all():
            assert time.monotonic() < deadline
            sender.send_due()
            time.sleep(0.05)
        assert db.session.scalars(select(AuditEvent.user_id)).all() == [1]
        assert celery.pool() == pool
        sender.close()
