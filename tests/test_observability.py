"""What is sent to OpenTelemetry's collector and to Sentry, and what never is."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest

from app import create_app, error_reports, tracing
from app.config import ConfigurationError, load
from app.observability import INSTALL, wanted
from benchmarks.server import Client, started
from tests.celery import worker
from tests.conftest import ROOT
from tests.observed import PRIVATE
from tests.receivers import receiving
from tests.redis import needs_redis, redis

POSTGRES = os.environ.get("TEST_DATABASE_URL")
ANSWERS = [
    "POST /api/v1/auth/register 201",
    "POST /api/v1/auth/login 200",
    "POST /api/v1/tasks 201",
    "GET /api/v1/tasks 200",
    "GET /api/v1/tasks/999999 404",
    "GET /crash/7 500",
    "GET /lose_database/7 503",
    "GET /hand_over/7 200",
]
SWITCHES = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    "SENTRY_DSN": "http://key@127.0.0.1:1/1",
}
# Redis's client imports what counts, of OpenTelemetry, wherever it finds that.
IMPORTED = """
import sys
from app import create_app
create_app()
asked = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "sentry_sdk", "app.tracing")
print([name for name in sys.modules if name.startswith(asked)])
"""
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def environ(app, settings, tmp_path):
    """What an application of its own process is started with, on the same database."""
    unobserved = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "SENTRY"))
    }
    return unobserved | {
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


def observed(environ):
    """Run what is observed, and return what it printed."""
    ran = python(environ, "-W", "error::DeprecationWarning", "-m", "tests.observed")
    assert ran.returncode == 0, ran.stderr
    assert re.findall(r"^(?:GET|POST) .*", ran.stdout, re.MULTILINE) == ANSWERS
    return ran.stdout


def only(found):
    [one] = found
    return one


def test_nothing_of_it_is_imported_unasked(environ):
    assert python(environ, "-c", IMPORTED).stdout == "[]\n"


@pytest.mark.parametrize(
    ("environ", "modules"),
    [
        ({}, []),
        ({ENDPOINT: "", "SENTRY_DSN": ""}, []),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "True"}, []),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "0"}, ["app.tracing"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, ["app.tracing"]),
        ({"SENTRY_DSN": "http://key@127.0.0.1:1/1"}, ["app.error_reports"]),
    ],
)
def test_the_standard_variables_ask_for_it(environ, modules):
    assert [option.module for option in wanted(environ)] == modules


@pytest.mark.parametrize(
    ("name", "package"),
    [
        (ENDPOINT, "opentelemetry.sdk.trace"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "opentelemetry.exporter"),
        ("SENTRY_DSN", "sentry_sdk"),
    ],
)
def test_what_is_asked_for_and_not_installed_is_refused_among_all_faults(
    monkeypatch, name, package
):
    for module in [*sys.modules]:
        if f"{module}.".startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError) as refusal:
        load("testing", {name: "http://key@127.0.0.1:1/1", "PORT": "x"})
    assert str(refusal.value).splitlines() == [
        "The configuration is not usable:",
        "- PORT must be a whole number of at least 1.",
        f"- {name} is set, but what it needs is not installed: {INSTALL}",
    ]


def test_nothing_starts_without_what_is_asked_for(environ):
    program = "import runpy, sys; sys.modules['sentry_sdk'] = None; "
    program += "runpy.run_path('run.py', run_name='__main__')"
    ran = python(environ | {"SENTRY_DSN": "http://key@127.0.0.1:1/1"}, "-c", program)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [
        "The configuration is not usable:",
        f"- SENTRY_DSN is set, but what it needs is not installed: {INSTALL}",
    ]


def test_a_dsn_that_is_none_is_refused(monkeypatch, settings):
    monkeypatch.setenv("SENTRY_DSN", "sentry.example.com")
    with pytest.raises(ConfigurationError) as refusal:
        create_app(settings)
    assert str(refusal.value).splitlines() == [
        "The configuration is not usable:",
        "- SENTRY_DSN is not the DSN of a project.",
    ]


def test_what_is_sent_tells_routes_statements_and_failures_and_nothing_of_users(environ):
    with receiving() as receiver:
        said = observed(environ | receiver.environ)
    spans, reports = receiver.spans(), receiver.reports()
    by_name = {span.name: span for span in spans}

    assert {span.service for span in spans} == {"task-api"}
    created = by_name["POST /api/v1/tasks"]
    assert created.told == {
        "http.request.method": "POST",
        "http.route": "/api/v1/tasks",
        "http.response.status_code": 201,
        "request_id": "r-3",
    }
    under = [span for span in spans if span.parent == created.id]
    inserted = only(span for span in under if "INSERT INTO tasks" in span.told["db.query.text"])
    assert inserted.name == inserted.told["db.operation.name"] == "INSERT"
    assert inserted.told["db.system.name"] == ("postgresql" if POSTGRES else "sqlite")
    assert any(span.name == "SELECT" for span in under)

    # The list is in the trace that the client named, and its reads are in the list.
    listed = by_name["GET /api/v1/tasks"]
    assert (listed.trace, listed.parent) == ("ab" * 16, "cd" * 8)
    assert {span.name for span in spans if span.parent == listed.id} >= {"SELECT"}

    failed = {name for name, span in by_name.items() if span.failed}
    assert failed == {
        "GET /crash/<int:number>",
        "GET /lose_database/<int:number>",
        "job probe.fail",
    }

    # A job belongs to the request that caused it, and its statements to the job.
    caused, job = by_name["GET /hand_over/<int:number>"], by_name["job probe.fail"]
    assert (job.trace, job.parent) == (caused.trace, caused.id)
    assert job.told == {
        "job.attempt": 1,
        "job.outcome": "postponed",
        "request_id": "r-8",
        "error.type": "ValueError",
    }
    mailed, registered = by_name["job mailed_token"], by_name["POST /api/v1/auth/register"]
    assert (mailed.trace, mailed.parent) == (registered.trace, registered.id)
    assert any(span.parent == mailed.id for span in spans)
    # What nothing asked for, such as a look into the outbox, is no trace of its own.
    requests = [span for span in spans if "http.request.method" in span.told]
    assert {span.id for span in spans if not span.parent} < {span.id for span in requests}

    crash, failure = reports
    assert crash["transaction"] == "GET /crash/<int:number>"
    assert (crash["level"], crash["tags"]) == ("error", {"request_id": "r-6"})
    assert failure["transaction"] == "job probe.fail"
    assert (failure["level"], failure["tags"]) == ("warning", {"request_id": "r-8"})
    for report in reports:
        error = only(report["exception"]["values"])
        assert (error["type"], error["value"]) == ("ValueError", "")
        frames = error["stacktrace"]["frames"]
        assert frames[-1]["filename"] == "observed.py"
        assert all("vars" not in frame for frame in frames)
        assert {"request", "user", "extra", "modules"}.isdisjoint(report)
        assert report["breadcrumbs"] == {"values": []}

    sent = receiver.everything()
    tokens = re.findall(r"^token (.+)", said, re.MULTILINE) + re.findall(r"\b[\w-]{43}\b", said)
    secrets = [environ["SECRET_KEY"], environ["JWT_SECRET_KEY"]]
    assert len(tokens) >= 2
    # Of its own code a report holds the lines around the error, where these stand by their names.
    assert [word for word in [*PRIVATE.values(), *tokens, *secrets] if word in sent] == []


def test_the_standard_variables_are_heeded(environ):
    with receiving() as receiver:
        observed(
            environ
            | {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.environ[
                    "OTEL_EXPORTER_OTLP_ENDPOINT"
                ]
                + "/v1/traces",
                "OTEL_SERVICE_NAME": "tasks-of-ours",
                "OTEL_TRACES_SAMPLER": "parentbased_always_off",
                "SENTRY_DSN": receiver.environ["SENTRY_DSN"],
                "SENTRY_ENVIRONMENT": "staging",
                "SENTRY_RELEASE": "1.2.3",
            }
        )
    spans, reports = receiver.spans(), receiver.reports()
    assert {span.service for span in spans} == {"tasks-of-ours"}
    # Only what the client has sampled.
    assert {span.trace for span in spans} == {"ab" * 16}
    assert [(r["environment"], r["release"]) for r in reports] == [("staging", "1.2.3")] * 2


def test_a_receiver_that_never_answers_holds_up_neither_requests_nor_the_end(environ):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        said = observed(
            environ
            | {
                ENDPOINT: f"http://127.0.0.1:{port}",
                "OTEL_BSP_SCHEDULE_DELAY": "1",
                "SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
            }
        )
        over = time.monotonic()
    # Each would wait for 10 seconds and more.
    assert over - began < 60
    [ended] = re.findall(r"^ended (.+)", said, re.MULTILINE)
    assert over - float(ended) < tracing.PATIENCE + error_reports.PATIENCE + 5


@needs_redis
def test_processes_that_fork_send_what_is_left_when_they_end(tmp_path):
    account = {"username": "ada", "email": "ada@example.com", "password": PRIVATE["password"]}
    with redis() as broker, receiving() as receiver:
        # Too long for anything to be sent before the end.
        slow = receiver.environ | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
        settings = slow | {"REDIS_URL": broker.url, "LOG_FORMAT": "json"}
        with started(POSTGRES, **settings) as server, Client(server.port) as client:
            with worker(tmp_path, server.environ) as celery:
                assert client.call("POST", "/auth/register", account)[0] == 201
                celery.wait_for('"outcome":"done"')
                assert celery.stop() == 0
            assert [span.name for span in receiver.spans() if "job" in span.name] == [
                "job mailed_token"
            ]
            assert server.stop() == 0
    by_name = {span.name: span for span in receiver.spans()}
    job, registered = by_name["job mailed_token"], by_name["POST /api/v1/auth/register"]
    assert (job.trace, job.parent) == (registered.trace, registered.id)
