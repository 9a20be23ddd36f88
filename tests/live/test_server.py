"""The started server: under load, and asked to stop.

LOAD_SECONDS makes the load last longer than it does by default.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server import Client, started

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"
POSTGRES = os.environ.get("TEST_DATABASE_URL")


def script(name: str, *options: str) -> dict[str, int]:
    """Run one of the benchmarks' scripts on the database under test and return its report."""
    if POSTGRES:
        options = (*options, "--database", POSTGRES)
    ran = subprocess.run(
        [sys.executable, BENCHMARKS / name, *options], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def test_64_clients_at_once_lose_and_double_no_row_and_meet_no_5xx():
    report = script("load.py", "--clients", "64", "--seconds", os.environ.get("LOAD_SECONDS", "3"))
    assert report["answers"]["create 201"] >= 64
    assert report["rows"] > 0
    assert [report[name] for name in ("bad", "lost", "doubled", "unasked", "different")] == [0] * 5


def test_ctrl_c_stops_the_server_cleanly():
    with started(POSTGRES) as server, Client(server.port) as client:
        assert client.call("GET", "/auth/me")[1]["code"] == "authentication_required"
        assert server.stop() == 0


@pytest.mark.skipif(bool(POSTGRES), reason="about the embedded default")
def test_tokens_survive_a_restart_without_any_setting():
    with started(None) as server:
        with Client(server.port) as client:
            account = {"username": "ada", "email": "ada@example.com", "password": "correct horse"}
            client.call("POST", "/auth/register", account)
            client.log_in("ada", "correct horse")
        server.kill()
        server.start()
        with Client(server.port) as again:
            again.headers = client.headers
            assert again.call("GET", "/auth/me")[1]["username"] == "ada"
