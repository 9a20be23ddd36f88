"""The started server: behavior under load and at shutdown.

LOAD_SECONDS makes the load last longer than it does by default.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import httpx
import pytest

from benchmarks.consistency import FAILURES
from benchmarks.server import ROOT, Client, Server, new_database, started
from tests.waiting import wait_for

POSTGRES = os.environ.get("TEST_DATABASE_URL")
PASSWORD = "correct horse battery"


def test_64_concurrent_clients_lose_and_duplicate_no_row_and_get_no_5xx():
    command = [sys.executable, "-m", "benchmarks.consistency", "--clients", "64"]
    command += ["--seconds", os.environ.get("LOAD_SECONDS", "3")]
    command += ["--database", POSTGRES] if POSTGRES else []
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    report = json.loads(completed.stdout)
    assert report["responses"]["create 201"] >= 64
    assert report["rows"] > 0
    assert {report[name] for name in FAILURES} == {0}


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


def test_workers_end_with_a_killed_master():
    with started(POSTGRES) as server, Client(server.port) as client:
        assert client.call("GET", "/auth/me")[0] == 401
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{worker}/exe").exists() for worker in workers), 10)
        began = time.monotonic()
        server.start()
        assert time.monotonic() - began < 8
        with Client(server.port) as again:
            assert again.call("GET", "/auth/me")[1]["code"] == "authentication_required"


class Development(Server):
    """A server that ``pipenv run dev`` starts in a copy of the code."""

    def __init__(self, folder: Path) -> None:
        for name in ("app", "migrations", "deploy"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("run.py", "wsgi.py", "Pipfile"):
            shutil.copy(ROOT / name, folder)
        super().__init__("", str(folder), {})
        del self.environ["DATABASE_URL"]
        self.folder = folder
        scripts = tomllib.loads((folder / "Pipfile").read_text())["scripts"]
        # A process that a script starts in the background ignores Ctrl-C.
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


RUN = [sys.executable, "-m"]
# Flask's server leaves SIGINT ignored if its parent ignores it, as a shell's background jobs do.
WITH_SIGINT = ["env", "--default-signal=INT"] if sys.platform == "linux" else []
SERVERS = {
    "flask run": [*WITH_SIGINT, *RUN, "flask", "--app", "app", "run", "--port", "{port}"],
    "gunicorn": [*RUN, "gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "wsgi:app"],
    "preloaded": [*RUN, "gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:{port}", "wsgi:app"],
    "application": [*RUN, "gunicorn", "-b", "127.0.0.1:{port}", "wsgi"],
    "pipenv run start": [sys.executable, "run.py"],
}


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_export_succeeds_on_any_server(command, tmp_path):
    with new_database(POSTGRES, str(tmp_path)) as url:
        server = Server(url, str(tmp_path), {"MAIL_SERVER": ""})
        server.command = [word.format(port=server.port) for word in command]
        subprocess.run(
            [*RUN, "flask", "db", "upgrade"],
            env=server.environ,
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        server.start()
        try:
            with Client(server.port) as client:
                account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
                assert client.call("POST", "/auth/register", account)[0] == 201
                client.log_in("ada", PASSWORD)
                status, job = client.call("POST", "/exports", {"format": "json"})
                assert status == 202
                path = f"/jobs/{job['id']}"
                wait_for(lambda: client.call("GET", path)[1]["state"] == "succeeded", 30)
            # SIGTERM lets gunicorn finish a response that it is sending; Flask knows only SIGINT.
            stop = signal.SIGINT if "flask" in command else signal.SIGTERM
            assert server.stop(stop) == 0
            assert "Traceback" not in server.log.read_text()
        finally:
            server.kill()


@pytest.mark.parametrize("host", ["::", "[::1]"])
def test_server_listens_on_an_ipv6_address(host, tmp_path):
    with new_database(None, str(tmp_path)) as url:
        server = Server(url, str(tmp_path), {"HOST": host, "PUBLIC_URL": ""})
        server.command = [sys.executable, "run.py"]
        process = subprocess.Popen(
            server.command,
            env=server.environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            host_name = host.strip("[]")
            assert process.stdout.readline().startswith(
                f"The API is at http://[{host_name}]:{server.port}/api/v1,"
            )
            live = f"http://[::1]:{server.port}/health/live"
            wait_for(lambda: answers(live), 30)
        finally:
            process.terminate()
            assert process.wait(30) == 0
            process.stdout.close()


def answers(url):
    try:
        return httpx.get(url).json() == {"status": "ok"}
    except httpx.ConnectError:
        return False
