"""The started server: under load, and asked to stop.

LOAD_SECONDS makes the load last longer than it does by default.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from benchmarks.server import ROOT, Client, Server, started
from tests.waiting import wait_for

BENCHMARKS = ROOT / "benchmarks"
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


def test_who_kills_the_server_kills_its_workers_and_can_start_it_again_at_once():
    with started(POSTGRES) as server, Client(server.port) as client:
        assert client.call("GET", "/auth/me")[0] == 401
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{worker}/exe").exists() for worker in workers), 2)
        began = time.monotonic()
        server.start()
        assert time.monotonic() - began < 8
        with Client(server.port) as again:
            assert again.call("GET", "/auth/me")[1]["code"] == "authentication_required"


class Development(Server):
    """A server as ``pipenv run dev`` starts it, of a copy of the code."""

    def __init__(self, folder: Path) -> None:
        for name in ("app", "migrations", "deploy"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("run.py", "wsgi.py", "Pipfile"):
            shutil.copy(ROOT / name, folder)
        super().__init__("", str(folder), {})
        del self.environ["DATABASE_URL"]
        self.folder = folder
        scripts = tomllib.loads((folder / "Pipfile").read_text())["scripts"]
        # Ctrl-C is ignored by what is started from a script in the background.
        self.command = ["env", "--default-signal=INT", *shlex.split(scripts["dev"])]
        self.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def says(self, word: str) -> bool:
        try:
            with Client(self.port) as client:
                client.connection.request("GET", "/ping")
                return word.encode() in client.connection.getresponse().read()
        except OSError:
            return False


@pytest.mark.skipif(bool(POSTGRES), reason="about the embedded default")
def test_the_server_of_development_has_what_was_changed(tmp_path):
    server = Development(tmp_path)
    server.start()
    try:
        wait_for(lambda: server.says('"pong"'), 20)
        routes = tmp_path / "app" / "health" / "routes.py"
        routes.write_text(routes.read_text().replace("pong", "changed"))
        wait_for(lambda: server.says('"changed"'), 20)
        assert server.stop() == 0
    finally:
        server.kill()
