"""The servers that are measured: ours as production runs it, and its peers, on the same rows."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import environment
import psycopg
from server import ROOT, Client, Server, new_database

WORKERS, THREADS = 2, 16  # as shipped: WEB_CONCURRENCY and THREADS
SECRET = sha256(b"whatever is measured").hexdigest()
BENCHMARKS = ROOT / "benchmarks"
PEERS: Mapping[str, Sequence[str]] = {
    "hello": ("gunicorn", "-c", "peers/gunicorn.conf.py", "peers.hello:app"),
    "tutorial": ("gunicorn", "-c", "peers/gunicorn.conf.py", "peers.tutorial:create_app()"),
    "fastapi_sqlmodel": (
        "uvicorn", "peers.fastapi_sqlmodel:app", "--workers", str(WORKERS),
        "--log-level", "warning", "--no-access-log",
    ),
    "drf": ("gunicorn", "-c", "peers/gunicorn.conf.py", "peers.drf.wsgi:application"),
}  # fmt: skip
NAMES = ("ours", *PEERS)
# What stands in the environment by chance is not what was measured.
FOREIGN = ("REDIS_URL", "CELERY_BROKER_URL", "MAIL_SERVER", "PYTHONPATH", "DJANGO_SETTINGS_MODULE")
OURS = {
    "FLASK_CONFIG": "production",
    "ALLOW_SQLITE": "1",
    "METRICS": "1",
    "JWT_SECRET_KEY": SECRET,
}


class Peer(Server):
    """One of the peers, by the interpreter of their environment."""

    folder = BENCHMARKS

    def __init__(self, name: str, database_url: str, instance: str, own: Mapping[str, str]) -> None:
        super().__init__(database_url, instance, own)
        self.command = (environment.python(), "-m", *PEERS[name])
        if name == "fastapi_sqlmodel":
            self.command = (*self.command, "--port", str(self.port))

    def answers(self) -> bool:
        """Tell whether the server is up, whatever it answers."""
        try:
            with Client(self.port) as client:
                client.connection.request("GET", "/")
                return client.connection.getresponse().status < 500
        except OSError:
            return False


def end_on_term() -> None:
    """Have SIGTERM end this process as an error would: servers stopped, databases dropped."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def filled(
    names: Sequence[str], database_server: str | None, *, users: int, each: int
) -> Iterator[dict[str, Server]]:
    """Start servers, each on a new database that holds the rows."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(filled_one(name, database_server, users=users, each=each))
            for name in names
        }


@contextmanager
def filled_one(
    name: str,
    database_server: str | None,
    *,
    users: int,
    each: int,
    others: int = 0,
    own: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Start one server on a new database with the rows; ours with ``others`` who have none.

    ``own`` are settings of its own.
    """
    with TemporaryDirectory() as instance, new_database(database_server, instance) as url:
        server = _prepared(name, url, instance)
        server.environ |= own or {}
        if name != "hello":
            _fill(name, server, [users, each, *([others] if others else [])])
            _analyse(url)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _prepared(name: str, url: str, instance: str) -> Server:
    own = {"SECRET_KEY": SECRET, "WEB_CONCURRENCY": str(WORKERS), "THREADS": str(THREADS)}
    ours = name == "ours"
    server = Server(url, instance, own | OURS) if ours else Peer(name, url, instance, own)
    for foreign in FOREIGN:
        server.environ.pop(foreign, None)
    return server


def _fill(name: str, server: Server, sizes: Sequence[int]) -> None:
    size = [str(one) for one in sizes]
    command: Sequence[str | Path] = (environment.python(), "-m", "peers.fill", name, *size)
    environ = server.environ
    if name == "ours":
        command = (sys.executable, "fill.py", *size)
        environ = environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{BENCHMARKS}"}
    ran = subprocess.run(
        command, cwd=BENCHMARKS, env=environ, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"{name} was not filled:\n{ran.stdout}{ran.stderr}")


def _analyse(url: str) -> None:
    """Let the database learn its rows, as PostgreSQL does by itself after a while."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("ANALYZE")
            connection.commit()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
