"""The servers under test: ours as production runs it, and its peers, all with the same rows."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from app.config import Config
from benchmarks import peer_environment
from benchmarks.server import Client, Server, new_database

# The defaults that are shipped; the peers run with the same.
WORKERS, THREADS = Config.WEB_CONCURRENCY, Config.THREADS
SECRET = sha256(b"benchmark").hexdigest()
POSTGRESQL = "postgresql://postgres@127.0.0.1/postgres"
GUNICORN = ("gunicorn", "-c", "benchmarks/peers/gunicorn_conf.py")
PEERS: Mapping[str, Sequence[str]] = {
    "hello": (*GUNICORN, "benchmarks.peers.hello:app"),
    "tutorial": (*GUNICORN, "benchmarks.peers.tutorial:create_app()"),
    "fastapi_sqlmodel": (
        "uvicorn", "benchmarks.peers.fastapi_sqlmodel:app", "--workers", str(WORKERS),
        "--log-level", "warning", "--no-access-log",
    ),
    "drf": (*GUNICORN, "benchmarks.peers.drf.wsgi:application"),
}  # fmt: skip
NAMES = ("ours", *PEERS)
# A setting that happens to be in the caller's environment must not change the figures.
REMOVED = ("REDIS_URL", "CELERY_BROKER_URL", "MAIL_SERVER", "PYTHONPATH", "DJANGO_SETTINGS_MODULE")
SETTINGS = {
    "SECRET_KEY": SECRET,
    "WEB_CONCURRENCY": str(WORKERS),
    "THREADS": str(THREADS),
    # Longer than a walk through the largest table.
    "ACCESS_TOKEN_MINUTES": "120",
}
PRODUCTION = {
    "FLASK_CONFIG": "production",
    "ALLOW_HTTP": "1",
    "ALLOW_SQLITE": "1",
    "METRICS": "1",
    "JWT_SECRET_KEY": SECRET,
}


class Peer(Server):
    """One of the peers, run by the interpreter of their environment."""

    def __init__(
        self, name: str, database_url: str, instance: str, settings: Mapping[str, str]
    ) -> None:
        super().__init__(database_url, instance, settings)
        self.command = (peer_environment.python(), "-m", *PEERS[name])
        if name == "fastapi_sqlmodel":
            self.command = (*self.command, "--port", str(self.port))

    def is_up(self) -> bool:
        """Return whether the server responds, with whatever status below 500."""
        try:
            with Client(self.port) as client:
                client.connection.request("GET", "/")
                return client.connection.getresponse().status < 500
        except OSError:
            return False


def exit_on_sigterm() -> None:
    """Make SIGTERM raise SystemExit, so that servers are stopped and databases dropped."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def all_filled(
    names: Sequence[str], database_server: str | None, *, users: int, tasks_per_user: int
) -> Iterator[dict[str, Server]]:
    """Start several servers, each on a new database with the same rows."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                filled(name, database_server, users=users, tasks_per_user=tasks_per_user)
            )
            for name in names
        }


@contextmanager
def filled(
    name: str, database_server: str | None, *, users: int, tasks_per_user: int, others: int = 0
) -> Iterator[Server]:
    """Start a server on a new database with the rows; ours can have ``others`` without tasks."""
    with TemporaryDirectory() as instance, new_database(database_server, instance) as url:
        server = _create(name, url, instance)
        if name != "hello":
            _fill(name, server, [users, tasks_per_user, *([others] if others else [])])
            _analyze(url)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _create(name: str, url: str, instance: str) -> Server:
    if name == "ours":
        server = Server(url, instance, SETTINGS | PRODUCTION)
    else:
        server = Peer(name, url, instance, SETTINGS)
    for variable in REMOVED:
        server.environ.pop(variable, None)
    return server


def _fill(name: str, server: Server, sizes: Sequence[int]) -> None:
    command: Sequence[str | Path] = (sys.executable, "-m", "benchmarks.fill")
    if name != "ours":
        command = (peer_environment.python(), "-m", "benchmarks.peers.fill", name)
    completed = subprocess.run(
        [*command, *map(str, sizes)],
        cwd=server.folder,
        env=server.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise RuntimeError(f"{name} was not filled:\n{completed.stdout}{completed.stderr}")


def _analyze(url: str) -> None:
    """Update the planner's statistics, which PostgreSQL would do by itself after a while."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("ANALYZE")
            connection.commit()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
