"""The output of the server's processes."""

import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks.server import Client, Server, new_database


class FlaskRun(Server):
    command = (sys.executable, "-m", "flask", "run")

    def start(self):
        self.environ |= {
            "FLASK_RUN_PORT": str(self.port),
            "FLASK_APP": "wsgi",
            "PYTHONUNBUFFERED": "1",
        }
        super().start()


@pytest.fixture
def output(tmp_path):
    """Run a server that answers two requests; return the lines of its log."""

    def run(kind, **settings):
        with new_database(os.environ.get("TEST_DATABASE_URL"), str(tmp_path)) as url:
            server = kind(url, str(tmp_path), settings)
            if kind is FlaskRun:
                upgrade = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
                subprocess.run(upgrade, env=server.environ, check=True, capture_output=True)
            server.start()
            try:
                with Client(server.port) as client:
                    assert client.call("GET", "/tasks?limit=7")[0] == 401
                    assert client.call("POST", "/nothing")[0] == 404
            finally:
                # SIGINT may be ignored: processes in the background inherit that.
                server.stop(signal.SIGTERM)
        return server.log.read_text().splitlines()

    return run


def test_every_line_of_gunicorn_is_json_if_log_format_is_json(output):
    records = [json.loads(line) for line in output(Server, LOG_FORMAT="json", LOG_LEVEL="INFO")]
    for record in records:
        assert {"time", "level", "logger", "message"} <= record.keys(), record
    gunicorn = [each["message"] for each in records if each["logger"] == "gunicorn.error"]
    for beginning in ("Starting gunicorn ", "Listening at: ", "Booting worker ", "Shutting down"):
        assert any(message.startswith(beginning) for message in gunicorn), beginning


def test_lines_of_gunicorn_are_text_if_log_format_is_text(output):
    lines = output(Server, LOG_FORMAT="text", LOG_LEVEL="INFO")
    [line] = [line for line in lines if "Starting gunicorn" in line]
    assert line.split()[1] == "INFO"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_flask_run_logs_each_request_once_and_without_escape_codes(output, log_format):
    lines = output(FlaskRun, LOG_FORMAT=log_format, LOG_LEVEL="INFO")
    assert not any("\x1b" in line or "\\u001b" in line for line in lines)
    assert sum("Running on http" in line for line in lines) == 1
    for request in ("GET /api/v1/tasks", "POST /api/v1/nothing"):
        assert sum(request in line for line in lines) == 1, lines
    assert not any("limit=7" in line for line in lines)
