"""Traces for OpenTelemetry and reports for Sentry: contents, settings and shutdown."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest

from app import create_app
from app.config import ConfigurationError, load
from app.config.integrations import INSTALL, enabled_integrations
from app.observability import sentry, tracing
from benchmarks.server import Client, started
from tests.celery import worker
from tests.conftest import ROOT
from tests.observed import PRIVATE
from tests.receivers import receiving
from tests.redis import needs_redis, redis

POSTGRES = os.environ.get("TEST_DATABASE_URL")
RESPONSES = [
    "POST /api/v1/auth/register 201",
    "POST /api/v1/auth/login 200",
    "POST /api/v1/tasks 201",
    "GET /api/v1/tasks 200",
    "GET /api/v1/tasks/999999 404",
    "GET /crash/7 500",
    "GET /lose_database/7 503",
    "GET /enqueue_message/7 200",
]
# The Redis client imports opentelemetry.metrics if it is installed.
IMPORTED = """
import sys
from app import create_app
create_app()
otel = ("opentelemetry.sdk.trace", "opentelemetry.exporter")
prefixes = (*otel, "sentry_sdk", "app.observability.tracing")
print([name for name in sys.modules if name.startswith(prefixes)])
"""
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def environ(app, settings, tmp_path):
    """The environment of a process that uses the test database."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "SENTRY"))
    }
    return inherited | {
        "FLASK_CONFIG": "development",
        "DATABASE_URL": settings["DATABASE_URL"],
        "SECRET_KEY": settings["SECRET_KEY"],
        "JWT_SECRET_KEY": settings["JWT_SECRET_KEY"],
        "INSTANCE_PATH": str(tmp_path),
    }


def python(environ, *command):
    return subprocess.run(
        [sys.executable, *command],
        check=False,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
    )


def run_observed(environ):
    """Run tests.observed and return its output."""
    ran = python(environ, "-W", "error::DeprecationWarning", "-m", "tests.observed")
    assert ran.returncode == 0, ran.stderr
    assert re.findall(r"^(?:GET|POST) .*", ran.stdout, re.MULTILINE) == RESPONSES
    return ran.stdout


def only(items):
    [item] = items
    return item


def test_packages_are_not_imported_by_default(environ):
    assert python(environ, "-c", IMPORTED).stdout == "[]\n"


@pytest.mark.parametrize(
    ("environ", "modules"),
    [
        ({}, []),
        ({ENDPOINT: "", "SENTRY_DSN": ""}, []),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"}, []),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "0"}, ["app.observability.tracing"]),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"},
            ["app.observability.tracing"],
        ),
        ({"SENTRY_DSN": "http://key@127.0.0.1:1/1"}, ["app.observability.sentry"]),
    ],
)
def test_standard_variables_enable_integrations(environ, modules):
    assert [integration.module for integration in enabled_integrations(environ)] == modules


@pytest.mark.parametrize(
    ("name", "package"),
    [
        (ENDPOINT, "opentelemetry.sdk.trace"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "opentelemetry.exporter"),
        ("SENTRY_DSN", "sentry_sdk"),
    ],
)
def test_missing_packages_are_a_configuration_problem(monkeypatch, name, package):
    for module in [*sys.modules]:
        if f"{module}.".startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError) as raised:
        load("testing", {name: "http://key@127.0.0.1:1/1", "PORT": "x"})
    assert str(raised.value).splitlines() == [
        "Invalid configuration:",
        "- PORT must be a positive integer.",
        f"- {name} is set, but its packages are not installed: run {INSTALL}",
    ]


def test_server_does_not_start_with_missing_packages(environ):
    program = "import runpy, sys; sys.modules['sentry_sdk'] = None; "
    program += "runpy.run_path('run.py', run_name='__main__')"
    ran = python(environ | {"SENTRY_DSN": "http://key@127.0.0.1:1/1"}, "-c", program)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [
        "Invalid configuration:",
        f"- SENTRY_DSN is set, but its packages are not installed: run {INSTALL}",
    ]


def test_invalid_dsn_is_rejected(monkeypatch, settings):
    monkeypatch.setenv("SENTRY_DSN", "sentry.example.com")
    with pytest.raises(ConfigurationError) as raised:
        create_app(settings)
    assert str(raised.value).splitlines() == [
        "Invalid configuration:",
        "- SENTRY_DSN is not a valid DSN.",
    ]


def test_traces_and_reports_have_routes_and_errors_and_no_user_data(environ):
    with receiving() as receiver:
        output = run_observed(environ | receiver.environ)
    spans, reports = receiver.spans(), receiver.reports()
    by_name = {span.name: span for span in spans}

    assert {span.service for span in spans} == {"task-api"}
    created = by_name["POST /api/v1/tasks"]
    assert created.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/v1/tasks",
        "http.response.status_code": 201,
        "request_id": "r-3",
    }
    children = [span for span in spans if span.parent == created.id]
    inserted = only(
        span for span in children if "INSERT INTO tasks" in span.attributes["db.query.text"]
    )
    assert inserted.name == inserted.attributes["db.operation.name"] == "INSERT"
    assert inserted.attributes["db.system.name"] == ("postgresql" if POSTGRES else "sqlite")
    assert any(span.name == "SELECT" for span in children)

    # The request continues the client's trace, and its statements belong to the request.
    listed = by_name["GET /api/v1/tasks"]
    assert (listed.trace, listed.parent) == ("ab" * 16, "cd" * 8)
    assert {span.name for span in spans if span.parent == listed.id} >= {"SELECT"}

    failed = {name for name, span in by_name.items() if span.failed}
    assert failed == {
        "GET /crash/<int:number>",
        "GET /lose_database/<int:number>",
        "outbox probe.fail",
    }

    # A message belongs to the request that enqueued it, and its statements to the message.
    request, message = by_name["GET /enqueue_message/<int:number>"], by_name["outbox probe.fail"]
    assert (message.trace, message.parent) == (request.trace, request.id)
    assert message.attributes == {
        "outbox.attempt": 1,
        "outbox.outcome": "postponed",
        "request_id": "r-8",
        "error.type": "ValueError",
    }
    mailed, registered = by_name["outbox mailed_token"], by_name["POST /api/v1/auth/register"]
    assert (mailed.trace, mailed.parent) == (registered.trace, registered.id)
    assert any(span.parent == mailed.id for span in spans)
    # Statements outside requests and messages, such as polling, have no span.
    requests = [span for span in spans if "http.request.method" in span.attributes]
    assert {span.id for span in spans if not span.parent} < {span.id for span in requests}

    crash, failure = reports
    assert crash["transaction"] == "GET /crash/<int:number>"
    assert (crash["level"], crash["tags"]) == ("error", {"request_id": "r-6"})
    assert failure["transaction"] == "outbox probe.fail"
    assert (failure["level"], failure["tags"]) == ("warning", {"request_id": "r-8"})
    for report in reports:
        error = only(report["exception"]["values"])
        assert (error["type"], error["value"]) == ("ValueError", "")
        frames = error["stacktrace"]["frames"]
        assert frames[-1]["filename"] == "observed.py"
        assert all("vars" not in frame for frame in frames)
        assert {"request", "user", "extra", "modules"}.isdisjoint(report)
        assert report["breadcrumbs"] == {"values": []}

    text = receiver.everything()
    tokens = re.findall(r"^token (.+)", output, re.MULTILINE) + re.findall(r"\b[\w-]{43}\b", output)
    secrets = [environ["SECRET_KEY"], environ["JWT_SECRET_KEY"]]
    assert len(tokens) >= 2
    # Reports contain source lines, in which these values appear by name only.
    assert [word for word in [*PRIVATE.values(), *tokens, *secrets] if word in text] == []


def test_standard_variables_configure_the_sdks(environ):
    with receiving() as receiver:
        run_observed(
            environ
            | {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.environ[
                    "OTEL_EXPORTER_OTLP_ENDPOINT"
                ]
                + "/v1/traces",
                "OTEL_SERVICE_NAME": "my-service",
                "OTEL_TRACES_SAMPLER": "parentbased_always_off",
                "SENTRY_DSN": receiver.environ["SENTRY_DSN"],
                "SENTRY_ENVIRONMENT": "staging",
                "SENTRY_RELEASE": "1.2.3",
            }
        )
    spans, reports = receiver.spans(), receiver.reports()
    assert {span.service for span in spans} == {"my-service"}
    # Only the trace that the client sampled.
    assert {span.trace for span in spans} == {"ab" * 16}
    assert [(r["environment"], r["release"]) for r in reports] == [("staging", "1.2.3")] * 2


def test_unresponsive_receiver_delays_neither_requests_nor_shutdown(environ):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        start = time.monotonic()
        output = run_observed(
            environ
            | {
                ENDPOINT: f"http://127.0.0.1:{port}",
                "OTEL_BSP_SCHEDULE_DELAY": "1",
                "SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
            }
        )
        end = time.monotonic()
    # The SDKs' own timeouts are 10 seconds and more.
    assert end - start < 60
    [ended] = re.findall(r"^ended (.+)", output, re.MULTILINE)
    assert (
        end - float(ended) < tracing.SHUTDOWN_TIMEOUT_SECONDS + sentry.SHUTDOWN_TIMEOUT_SECONDS + 5
    )


@needs_redis
def test_worker_processes_send_remaining_spans_at_exit(tmp_path):
    account = {"username": "ada", "email": "ada@example.com", "password": PRIVATE["password"]}
    with redis() as broker, receiving() as receiver:
        # Nothing is sent before the processes exit.
        slow = receiver.environ | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
        settings = slow | {"REDIS_URL": broker.url, "LOG_FORMAT": "json"}
        with started(POSTGRES, **settings) as server, Client(server.port) as client:
            with worker(tmp_path, server.environ) as celery:
                assert client.call("POST", "/auth/register", account)[0] == 201
                celery.wait_for('"outcome":"done"')
                assert celery.stop() == 0
            assert [span.name for span in receiver.spans() if "outbox" in span.name] == [
                "outbox mailed_token"
            ]
            assert server.stop() == 0
    by_name = {span.name: span for span in receiver.spans()}
    message, registered = by_name["outbox mailed_token"], by_name["POST /api/v1/auth/register"]
    assert (message.trace, message.parent) == (registered.trace, registered.id)
