"""A server of our own to measure, started as ``pipenv run start`` does, on a new database."""

import os
import signal
import socket
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

ROOT = Path(__file__).resolve().parent.parent
Answer = tuple[int, Any]


def children(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Client:
    """One keep-alive connection, with an account's token once it has logged in."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Return the status and the parsed body of one call."""
        raw = None if body is None else orjson.dumps(body)
        self.connection.request(method, f"/api/v1{path}", raw, self.headers)
        response = self.connection.getresponse()
        text = response.read()
        return response.status, orjson.loads(text) if text else None

    def log_in(self, username: str, password: str) -> None:
        status, answer = self.call(
            "POST", "/auth/login", {"username": username, "password": password}
        )
        if status != 200:
            raise RuntimeError(f"Login answered {status}: {answer}")
        self.headers["Authorization"] = f"Bearer {answer['access_token']}"


class Server:
    """A started server; ``kill`` ends it as a crash would, ``start`` brings it back."""

    command: Sequence[str | Path] = (sys.executable, "run.py")
    folder = ROOT

    def __init__(self, database_url: str, instance: str, settings: Mapping[str, str]) -> None:
        self.database_url = database_url
        self.log = Path(instance) / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
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
        """Start and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.1)

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        return children(self.process.pid)

    def answers(self) -> bool:
        """Tell whether the server is up."""
        try:
            with Client(self.port) as client:
                return client.call("GET", "/auth/me")[0] == 401
        except OSError:
            return False

    def kill(self) -> None:
        """End every process of the server at once, with nothing flushed."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask the server to stop, as Ctrl-C does, and return its exit status."""
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


@contextmanager
def started(database_server: str | None, **settings: str) -> Iterator[Server]:
    """Run a server on SQLite, or on a new database of the PostgreSQL server that is named."""
    with tempfile.TemporaryDirectory() as instance, new_database(database_server, instance) as url:
        server = Server(url, instance, settings)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def new_database(server: str | None, instance: str) -> Iterator[str]:
    """Yield the address of a new database: a file of SQLite's, or one on a PostgreSQL server."""
    if server is None:
        yield f"sqlite:///{instance}/tasks.db"
        return
    name = f"task_api_bench_{uuid4().hex[:12]}"
    base, _, _ = server.rpartition("/")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]  # our own name
    try:
        yield f"{base}/{name}"
    finally:
        # Anew: the server may have been restarted meanwhile.
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]
