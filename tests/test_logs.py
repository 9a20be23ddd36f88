"""What is logged of a request, and what is not."""

import io
import json
import logging
from contextlib import contextmanager

import pytest

from app.logs import ForPeople, ForPrograms
from app.origin import NOWHERE, Origin, set_origin


@contextmanager
def written(name, form):
    """Collect what a logger writes from here on."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(form)
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def lines(app):
    """The log lines of the requests that follow, as programs are told."""
    with written("app.requests", ForPrograms()) as stream:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def request_of():
    """Says which request is at hand."""
    yield lambda request_id: set_origin(Origin(request_id=request_id))
    set_origin(NOWHERE)


def test_every_request_is_one_line_with_what_it_cost(alice, lines):
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


def test_a_line_names_the_route_and_not_what_was_searched_for(alice, lines):
    task = alice.task()
    alice.get(f"/tasks/{task['id']}?q=secret")
    assert lines()[-1]["route"] == "/api/v1/tasks/<row_id:task_id>"
    assert "secret" not in json.dumps(lines())


def test_a_request_without_a_route_or_a_user_is_logged_too(client, lines):
    client.get("/no%0D%0Asuch\r\nthing")
    line = lines()[-1]
    assert (line["route"], line["user_id"], line["status"]) == (None, None, 404)
    assert "\n" not in line["message"]
    assert "\r" not in line["message"]


@pytest.mark.parametrize("form", [ForPeople, ForPrograms])
def test_what_clients_say_starts_no_new_line(form, request_of):
    request_of("r-7")
    with written("test", form()) as stream:
        logging.getLogger("test").warning("Said: %s", "one\r\nINFO forged")
    [line] = stream.getvalue().splitlines()
    assert "forged" in line
    assert "r-7" in line


def test_a_crash_is_one_line_with_its_traceback_and_the_id_of_its_request(request_of):
    request_of("r-8")
    with written("test", ForPrograms()) as stream:
        logging.getLogger("test").error("It failed.", exc_info=RuntimeError("inside"))
    [line] = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told["request_id"] == "r-8"
    assert "RuntimeError: inside" in told["exc_info"]
