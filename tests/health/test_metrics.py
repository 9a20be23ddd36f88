"""Prometheus metrics."""

import re
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from app import create_app
from app.extensions import db
from app.outbox.models import OutboxMessage
from tests.accounts import PASSWORD
from tests.problems import assert_problem


@pytest.fixture
def metrics_app(app, settings):
    """An application with METRICS enabled, on the same database."""
    metrics_app = create_app({**settings, "METRICS": True})
    yield metrics_app
    with metrics_app.app_context():
        db.engine.dispose()


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


def test_metrics_are_404_by_default(client):
    assert_problem(client.get("/metrics"), 404, "not_found")


def test_requests_are_counted_by_route_method_and_status(metrics_app):
    client = metrics_app.test_client()
    route = {"method": "GET", "route": "/api/v1/tasks/<row_id:task_id>"}
    requests = value("http_requests_total", **route, status="401")
    durations = value("http_request_duration_seconds_count", **route)
    for task_id in (1, 2, 3):
        client.get(f"/api/v1/tasks/{task_id}")
    assert value("http_requests_total", **route, status="401") == requests + 3
    assert value("http_request_duration_seconds_count", **route) == durations + 3


def test_unknown_routes_and_methods_share_one_label(metrics_app):
    client = metrics_app.test_client()
    before = value("http_requests_total", method="GET", route="none", status="404")
    client.get("/no/such/1")
    client.get("/no/such/2")
    assert value("http_requests_total", method="GET", route="none", status="404") == before + 2
    client.open("/ping", method="BREW")
    text = client.get("/metrics").text
    assert "BREW" not in text
    assert "/no/such" not in text
    assert 'method="other"' in text


def test_logins_are_counted_by_outcome(metrics_app, alice):
    client = metrics_app.test_client()
    succeeded = value("account_events_total", event="login_succeeded")
    failed = value("account_events_total", event="login_failed")
    for password in (PASSWORD, "wrong", "wronger"):
        credentials = {"username": "alice", "password": password}
        client.post("/api/v1/auth/login", json=credentials)
    assert value("account_events_total", event="login_succeeded") == succeeded + 1
    assert value("account_events_total", event="login_failed") == failed + 2


def test_connections_in_use_return_to_zero(metrics_app):
    client = metrics_app.test_client()
    client.get("/health/ready")
    assert value("database_connections_in_use") == 0
    response = client.get("/metrics")
    assert response.mimetype == "text/plain"
    assert re.search(r"^database_connections_in_use 0\.0$", response.text, re.MULTILINE)


@pytest.fixture
def messages(app):
    """Insert messages of each state into the outbox."""
    moment = datetime(2040, 1, 31, 9, tzinfo=UTC)
    common = {"payload": {}, "attempts": 1, "created_at": moment, "due_at": moment}
    rows = [
        {"type": "export", "locked_until": None, "failed_at": None},
        {"type": "notice", "locked_until": moment, "failed_at": None},
        {"type": "notice", "locked_until": None, "failed_at": None},
        {"type": "notice", "locked_until": None, "failed_at": moment},
    ]
    with app.app_context():
        db.session.execute(insert(OutboxMessage), [common | row for row in rows])
        db.session.commit()


def test_outbox_messages_are_counted_by_type_and_state(metrics_app, messages):
    text = metrics_app.test_client().get("/metrics").text
    assert sorted(re.findall(r"(?m)^(outbox_messages_(?:waiting|dead){.*)$", text)) == [
        'outbox_messages_dead{type="notice"} 1.0',
        'outbox_messages_waiting{type="export"} 1.0',
        'outbox_messages_waiting{type="notice"} 2.0',
    ]


def test_other_metrics_work_while_the_database_is_down(metrics_app, messages, monkeypatch):
    def fail(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("down"))

    monkeypatch.setattr(db.session, "execute", fail)
    response = metrics_app.test_client().get("/metrics")
    assert response.status_code == 200
    assert "outbox_messages_waiting" not in response.text
    assert "http_requests_total" in response.text
