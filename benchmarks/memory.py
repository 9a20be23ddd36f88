"""Resident memory of the API's workers: after requests of all kinds, and with parallel logins.

    pipenv run python -m benchmarks.memory
    pipenv run python -m benchmarks.memory --requests 20000 --database postgresql://...

Two of a hundred requests are logins, the others list, search, create and change tasks. Prints the
memory of each worker in MiB after a tenth of the requests, after all of them, and the highest while
64 logins run at once.
"""

import argparse
import random
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

from benchmarks.server import Client, Server, started

CLIENTS = 16
PARALLEL_LOGINS = 64
LOGIN_SHARE = 0.02
WRITE_SHARE = 0.15
PASSWORD = "correct horse battery"  # noqa: S105  # of users of a temporary database
MIB = 1024


def memory(server: Server) -> list[int]:
    """Return the resident memory of each worker in MiB."""
    return [
        int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())[0]) // MIB
        for worker in sorted(server.workers())
    ]


class Peak(Thread):
    """Samples the memory of the workers until it is stopped."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._stopped = Event()
        self.highest = memory(server)

    def run(self) -> None:
        """Sample every 10 ms."""
        while not self._stopped.wait(0.01):
            self.highest = list(map(max, self.highest, memory(self._server)))

    def stop(self) -> list[int]:
        """Return the highest memory of each worker."""
        self._stopped.set()
        self.join()
        return self.highest


def user(number: int) -> dict[str, str]:
    """Return the credentials of a user."""
    return {"username": f"user{number}", "password": PASSWORD}


def send(server: Server, requests: int, number: int) -> None:
    """Send requests of user ``number`` in random order, always the same."""
    rng = random.Random(number)
    with Client(server.port) as client:
        client.log_in(**user(number))
        task = expect(client, "POST", "/tasks", {"title": "First task"})
        for turn in range(requests - 2):
            if rng.random() < LOGIN_SHARE:
                client.log_in(**user(number))
            elif rng.random() < WRITE_SHARE:
                task = expect(client, "POST", "/tasks", {"title": f"Task {turn}"})
            elif rng.random() < WRITE_SHARE:
                task = expect(client, "PATCH", f"/tasks/{task['id']}", {"title": f"Again {turn}"})
            else:
                query = rng.choice(("", "?limit=10", "?q=task", "?status=completed", "?sort=title"))
                expect(client, "GET", f"/tasks{query}")


def expect(client: Client, method: str, path: str, body: Any = None) -> Any:
    """Return the body of a successful response."""
    status, content = client.call(method, path, body)
    if status >= 400:
        raise SystemExit(f"{method} {path}: {status} {content}")
    return content


def log_in_once(server: Server) -> None:
    """Log in on a connection of its own."""
    with Client(server.port) as client:
        client.log_in(**user(0))


def measure(server: Server, requests: int) -> Mapping[str, list[int]]:
    """Return the memory of each worker at each point."""
    for number in range(CLIENTS):
        with Client(server.port) as client:
            account = user(number) | {"email": f"user{number}@example.com"}
            client.call("POST", "/auth/register", account)
    figures = {"at the start": memory(server)}
    early = requests // 10
    with ThreadPoolExecutor(PARALLEL_LOGINS) as pool:
        for name, count in ((f"after {early}", early), (f"after {requests}", requests - early)):
            list(pool.map(partial(send, server, count // CLIENTS), range(CLIENTS)))
            time.sleep(1)
            figures[name] = memory(server)
        peak = Peak(server)
        peak.start()
        list(pool.map(lambda _: log_in_once(server), range(2 * PARALLEL_LOGINS)))
        figures[f"at most with {PARALLEL_LOGINS} logins"] = peak.stop()
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--database", help="URL of a PostgreSQL server; default is SQLite")
    arguments = parser.parse_args()
    settings = {"WEB_CONCURRENCY": "2", "THREADS": str(arguments.threads)}
    with started(arguments.database, **settings) as server:
        for name, workers in measure(server, arguments.requests).items():
            print(f"{name}: {', '.join(map(str, workers))} MiB")


if __name__ == "__main__":
    main()
