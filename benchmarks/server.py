"""A server of this application on a new database, started as ``pipenv run start`` starts it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import orjson
import psycopg

from benchmarks.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_SECONDS = 60


def children(pid: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Client:
    """A keep-alive connection to the API, with an access token after ``log_in``."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request and return the status and the parsed body of its response."""
        payload = None if body is None else orjson.dumps(body)
        self.connection.request(method, f"/api/v1{path}", payload, self.headers)
        response = self.connection.getresponse()
        text = response.read()
        return response.status, orjson.loads(text) if text else None

    def log_in(self, username: str, password: str) -> None:
        """Log in and send the access token from now on."""
        credentials = {"username": username, "password": password}
        status, body = self.call("POST", "/auth/login", credentials)
        if status != 200:
            raise RuntimeError(f"Login failed with {status}: {body}")
        self.headers["Authorization"] = f"Bearer {body['access_token']}"


class Server:
    """A server process; ``kill`` ends it like a crash, ``start`` restarts it on the same port."""

    command: Sequence[str | Path] = (sys.executable, "run.py")
    folder = ROOT

    def __init__(self, database_url: str, instance: str, settings: Mapping[str, str]) -> None:
        self.database_url = database_url
        self.log = Path(instance) / "server.log"
        self.port = free_port()
        self.environ = os.environ | {
            "DATABASE_URL": database_url,
            "INSTANCE_PATH": instance,
            "FLASK_CONFIG": "development",
            "RATELIMIT_ENABLED": "0",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            **settings,
        }

    def start(self) -> None:
        """Start the server and wait until it responds."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        return children(self.process.pid)

    def is_up(self) -> bool:
        """Return whether the server responds."""
        try:
            with Client(self.port) as client:
                return client.call("GET", "/auth/me")[0] == 401
        except OSError:
            return False

    def kill(self) -> None:
        """Kill every process of the server at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, signal_number: signal.Signals = signal.SIGINT) -> int:
        """Stop the server by a signal, Ctrl-C's by default, and return its exit status."""
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=60)


@contextmanager
def started(database_server: str | None, **settings: str) -> Iterator[Server]:
    """Run a server on a new SQLite file, or on a new database of a PostgreSQL server."""
    with tempfile.TemporaryDirectory() as instance, new_database(database_server, instance) as url:
        server = Server(url, instance, settings)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def new_database(database_server: str | None, instance: str) -> Iterator[str]:
    """Create a database and yield its URL: a SQLite file in ``instance``, or on PostgreSQL."""
    if database_server is None:
        yield f"sqlite:///{instance}/tasks.db"
        return
    name = f"task_api_bench_{uuid4().hex[:12]}"
    base, _, _ = database_server.rpartition("/")
    with psycopg.connect(database_server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{base}/{name}"
    finally:
        # A second connection: a test may have restarted the database server.
        with psycopg.connect(database_server, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
