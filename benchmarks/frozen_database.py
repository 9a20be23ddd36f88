"""Requests and liveness checks while PostgreSQL accepts connections, but does not respond.

    pipenv run python -m benchmarks.frozen_database --requests 200 --timeout 10

Starts a PostgreSQL of its own (it needs the server's programs), suspends its processes, and sends
all requests at once; liveness is checked every half second. Prints the statuses and the longest
times in seconds.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

from benchmarks.server import Client, Server
from tests.security import cluster

ACCOUNT = {"username": "ada", "password": "correct horse battery"}
CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class Figures:
    """Figures of the clients; ``recovery`` is the time from the end of the freeze to a success."""

    statuses: Counter[int]
    longest_request: float
    longest_liveness: float
    recovery: float


@contextmanager
def served(timeout: int) -> Iterator[tuple[cluster.Cluster, Server]]:
    """Run PostgreSQL and a server that uses it."""
    programs = cluster.binaries()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed.")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as instance:
        Path(folder).chmod(0o755)
        postgresql = cluster.Cluster(programs, Path(folder))
        postgresql.start()
        settings = {
            "DB_TIMEOUT": str(timeout),
            "DB_POOL_TIMEOUT": str(timeout),
            "WEB_CONCURRENCY": "2",
        }
        server = Server(postgresql.url, instance, settings)
        try:
            server.start()
            yield postgresql, server
        finally:
            server.kill()
            postgresql.stop()


def run(requests: int, timeout: int) -> Figures:
    """Freeze the database, and send the requests."""
    with served(timeout) as (postgresql, server):
        with Client(server.port) as client:
            client.call("POST", "/auth/register", ACCOUNT | {"email": "ada@example.com"})
            client.log_in(**ACCOUNT)
            headers = client.headers
        done = Event()
        with ThreadPoolExecutor(requests + 1) as pool:
            with postgresql.frozen():
                time.sleep(0.1)
                sent = [
                    pool.submit(timed, server.port, "/api/v1/tasks", headers)
                    for _ in range(requests)
                ]
                liveness = pool.submit(check_liveness, server.port, done)
                results = [future.result() for future in sent]
            start = time.monotonic()
            while timed(server.port, "/api/v1/tasks", headers)[0] != 200:
                time.sleep(0.05)
            recovery = time.monotonic() - start
            done.set()
        return Figures(
            Counter(status for status, _ in results),
            max(seconds for _, seconds in results),
            liveness.result(),
            recovery,
        )


def timed(port: int, path: str, headers: dict[str, str]) -> tuple[int, float]:
    """Return the status of a response, and how long it took."""
    start = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status, time.monotonic() - start
    finally:
        connection.close()


def check_liveness(port: int, done: Event) -> float:
    """Return the longest time of a liveness check until ``done``."""
    longest = 0.0
    while not done.wait(CHECK_SECONDS):
        status, seconds = timed(port, "/health/live", {})
        longest = max(longest, seconds if status == 200 else float("inf"))
    return longest


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument(
        "--timeout", type=int, default=10, help="DB_TIMEOUT and DB_POOL_TIMEOUT in seconds"
    )
    arguments = parser.parse_args()
    print(run(arguments.requests, arguments.timeout))


if __name__ == "__main__":
    main()
