"""The started server and a started worker: what happens to work when what is between them goes."""

import json
import os
import time
from datetime import timedelta

import pytest
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from app.audit.models import AuditEvent
from app.extensions import db
from app.outbox import celery as outbox_celery
from app.outbox import relay, work
from app.outbox.broker import Broker
from app.outbox.models import OutboxItem
from app.outbox.relay import Relay
from app.transactions import commit
from benchmarks.server import Client, started
from tests.celery import worker
from tests.conftest import ROOT
from tests.outbox import probes  # noqa: F401  # registers its jobs
from tests.redis import needs_redis, redis
from tests.security import cluster
from tests.smtp import listening

POSTGRES = os.environ.get("TEST_DATABASE_URL")
ACCOUNT = {"username": "ada", "email": "ada@example.com", "password": "correct horse battery"}

pytestmark = needs_redis


def lines_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_with_the_broker_away_answers_come_at_once_and_mail_once_it_is_back(tmp_path):
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
            asked = [line for line in lines_of(server.log.read_text()) if "route" in line]
        done = [line for line in lines_of(celery.said()) if line.get("kind") == "mailed_token"]
        assert [(line["outcome"], line["request_id"]) for line in done] == [("done", "r-77")]
        assert any(line["request_id"] == "r-77" and line["status"] == 201 for line in asked)
        for secret in (ACCOUNT["password"], ACCOUNT["email"]):
            assert secret not in celery.said()


@pytest.fixture
def restartable(settings, tmp_path, monkeypatch):
    """An application on a database that is ours to stop, and what its worker is started with."""
    with cluster.cluster() as postgresql, redis() as broker:
        monkeypatch.setattr(outbox_celery, "QUEUE", "probes")
        monkeypatch.setattr(relay, "RESEND", timedelta(seconds=1))
        told = {"DATABASE_URL": postgresql.url, "CELERY_BROKER_URL": broker.url}
        app = create_app(settings | told)
        with app.app_context():
            upgrade(directory=str(ROOT / "migrations"))
        yield app, postgresql, told | {"INSTANCE_PATH": str(tmp_path), "PROBE_QUEUE": "probes"}
        with app.app_context():
            db.engine.dispose()


@pytest.mark.skipif(not POSTGRES, reason="about PostgreSQL")
@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="needs PostgreSQL's programs"
)
def test_a_worker_outlives_a_restart_of_postgresql_in_the_middle_of_a_job(restartable, tmp_path):
    app, postgresql, environ = restartable
    sender = Relay(Broker(app.extensions["celery"]))
    with app.app_context(), worker(tmp_path, environ, "tests.outbox.probe_worker:celery") as celery:
        work.enqueue("probe.linger", folder=str(tmp_path))
        commit()
        sender.send_due()
        deadline = time.monotonic() + 60
        while not (tmp_path / "lingering").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pool = celery.pool()
        postgresql.stop()
        (tmp_path / "go").touch()
        # The job can't end, and that it failed can't be noted.
        celery.wait_for("raised unexpected")
        postgresql.start()
        while db.session.execute(select(OutboxItem.id)).all():
            assert time.monotonic() < deadline
            sender.send_due()
            time.sleep(0.05)
        assert db.session.scalars(select(AuditEvent.user_id)).all() == [1]
        assert celery.pool() == pool
        sender.close()
