"""What Prometheus is told."""

import re
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError

from app import create_app
from app.extensions import db
from app.outbox.models import OutboxItem
from tests.accounts import PASSWORD
from tests.problems import assert_problem


@pytest.fixture
def metered(app, settings):
    """An application that counts, on the same database."""
    counting = create_app({**settings, "METRICS": True})
    yield counting
    with counting.app_context():
        db.engine.dispose()


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


def test_nothing_is_told_unless_metrics_are_switched_on(client):
    assert_problem(client.get("/metrics"), 404, "not_found")


def test_requests_are_counted_by_route_method_and_status(metered):
    client = metered.test_client()
    seen = {"method": "GET", "route": "/api/v1/tasks/<row_id:task_id>", "status": "401"}
    before = value("http_requests_total", **seen)
    timed = {"method": "GET", "route": "/api/v1/tasks/<row_id:task_id>"}
    measured = value("http_request_duration_seconds_count", **timed)
    for task_id in (1, 2, 3):
        client.get(f"/api/v1/tasks/{task_id}")
    assert value("http_requests_total", **seen) == before + 3
    assert value("http_request_duration_seconds_count", **timed) == measured + 3


def test_clients_do_not_decide_how_many_series_there_are(metered):
    client = metered.test_client()
    unknown = {"method": "other", "route": "none", "status": "405"}
    before = value("http_requests_total", method="GET", route="none", status="404")
    client.get("/no/such/1")
    client.get("/no/such/2")
    assert value("http_requests_total", method="GET", route="none", status="404") == before + 2
    client.open("/ping", method="BREW")
    told = client.get("/metrics").text
    assert "BREW" not in told
    assert "/no/such" not in told
    assert unknown["method"] in told


def test_logins_and_their_failures_are_counted(metered, alice):
    client = metered.test_client()
    good, bad = (
        value("account_events_total", event=f"login_{word}") for word in ("succeeded", "failed")
    )
    for password in (PASSWORD, "wrong", "wronger"):
        said = {"username": "alice", "password": password}
        client.post("/api/v1/auth/login", json=said)
    assert value("account_events_total", event="login_succeeded") == good + 1
    assert value("account_events_total", event="login_failed") == bad + 2


def test_connections_in_use_are_told_and_come_back(metered):
    client = metered.test_client()
    client.get("/health/ready")
    assert value("database_connections_in_use") == 0
    told = client.get("/metrics")
    assert told.mimetype == "text/plain"
    assert re.search(r"^database_connections_in_use 0\.0$", told.text, re.MULTILINE)


@pytest.fixture
def items(app):
    """Puts an item of each state into the outbox."""
    moment = datetime(2040, 1, 31, 9, tzinfo=UTC)
    common = {"payload": {}, "attempts": 1, "created_at": moment, "due_at": moment}
    rows = [
        {"kind": "export", "held_until": None, "failed_at": None},
        {"kind": "notice", "held_until": moment, "failed_at": None},
        {"kind": "notice", "held_until": None, "failed_at": None},
        {"kind": "notice", "held_until": None, "failed_at": moment},
    ]
    with app.app_context():
        db.session.execute(insert(OutboxItem), [common | row for row in rows])
        db.session.commit()


def test_jobs_that_wait_or_were_given_up_are_told_as_the_database_has_them(metered, items):
    told = metered.test_client().get("/metrics").text
    found = re.findall(r"(?m)^(jobs_(?:waiting|given_up){.*)$", told)
    assert sorted(found) == [
        'jobs_given_up{kind="notice"} 1.0',
        'jobs_waiting{kind="export"} 1.0',
        'jobs_waiting{kind="notice"} 2.0',
    ]


def test_with_the_database_away_the_other_figures_are_told(metered, items, monkeypatch):
    def refuse(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("away"))

    monkeypatch.setattr(db.session, "execute", refuse)
    answer = metered.test_client().get("/metrics")
    assert answer.status_code == 200
    assert "jobs_waiting" not in answer.text
    assert "http_requests_total" in answer.text
