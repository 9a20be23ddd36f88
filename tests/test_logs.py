"""Log lines of requests, and the log formatters."""

import io
import json
import logging
from contextlib import ExitStack, contextmanager

import pytest

from app.observability.logs import JsonFormatter, TextFormatter
from app.request_context import RequestContext, use_context


@contextmanager
def capture(name, formatter):
    """Capture the output of a logger."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def lines(app):
    """Return the JSON log lines of requests so far."""
    with capture("app.requests", JsonFormatter()) as stream:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def set_request_id():
    """Set the id of the current request."""
    with ExitStack() as stack:
        yield lambda request_id: stack.enter_context(
            use_context(RequestContext(request_id=request_id))
        )


def test_each_request_is_logged_with_duration_and_queries(alice, lines):
    alice.get("/tasks?status=pending", headers={"X-Request-ID": "r-1"})
    line = lines()[-1]
    assert line["duration_ms"] > 0
    assert {name: line[name] for name in sorted(line) if name not in ("duration_ms", "time")} == {
        "ip_address": "127.0.0.1",
        "level": "INFO",
        "logger": "app.requests",
        "message": "GET /api/v1/tasks 200",
        "method": "GET",
        "path": "/api/v1/tasks",
        "queries": 2,
        "request_id": "r-1",
        "route": "/api/v1/tasks",
        "status": 200,
        "user_id": alice.id,
    }


def test_line_has_the_route_and_no_query_string(alice, lines):
    task = alice.task()
    alice.get(f"/tasks/{task['id']}?q=secret")
    assert lines()[-1]["route"] == "/api/v1/tasks/<row_id:task_id>"
    assert "secret" not in json.dumps(lines())


def test_request_without_route_or_user_is_logged(client, lines):
    client.get("/no%0D%0Asuch\r\nthing")
    line = lines()[-1]
    assert (line["route"], line["user_id"], line["status"]) == (None, None, 404)
    assert "\n" not in line["message"]
    assert "\r" not in line["message"]


@pytest.mark.parametrize("formatter", [TextFormatter, JsonFormatter])
def test_newlines_in_messages_are_escaped(formatter, set_request_id):
    set_request_id("r-7")
    with capture("test", formatter()) as stream:
        logging.getLogger("test").warning("Input: %s", "one\r\nINFO forged")
    [line] = stream.getvalue().splitlines()
    assert "forged" in line
    assert "r-7" in line


def test_exception_is_one_line_with_traceback_and_request_id(set_request_id):
    set_request_id("r-8")
    with capture("test", JsonFormatter()) as stream:
        logging.getLogger("test").error("Failed.", exc_info=RuntimeError("details"))
    [line] = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["request_id"] == "r-8"
    assert "RuntimeError: details" in fields["exc_info"]
