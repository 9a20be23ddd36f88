"""Clients that create tasks through nginx while its two API processes restart in turn.

    pipenv run python -m benchmarks.rolling_restart --restarts 4

Prints how many requests succeeded and which failed, and compares the created tasks with the
successful responses. Exits with 1 if a request failed.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from http.client import HTTPException
from threading import Event, Thread
from uuid import uuid4

from tests.deploy.gateway import Deployment, Gateway, HTTPSConnectionTo, deployed, send

CLIENTS = 16
PASSWORD = "correct horse battery"  # noqa: S105  # of users of a temporary database


class LoadingClient(Thread):
    """Creates tasks of one user until ``stop`` is set; counts the outcomes."""

    def __init__(self, gateway: Gateway, stop: Event) -> None:
        super().__init__()
        self._gateway = gateway
        self._stopping = stop
        self.outcomes: Counter[str] = Counter()
        self.headers = log_in(gateway)

    def run(self) -> None:
        """Send one request after another, on one connection while it lasts."""
        while not self._stopping.is_set():
            with HTTPSConnectionTo(self._gateway) as connection:
                try:
                    while not self._stopping.is_set():
                        response = send(
                            connection, "POST", "/api/v1/tasks", {"title": "a"}, self.headers
                        )
                        self.outcomes[str(response.status)] += 1
                except (HTTPException, OSError) as error:
                    self.outcomes[type(error).__name__] += 1

    def count_tasks(self) -> int:
        """Return how many tasks the user has."""
        count, cursor = 0, ""
        while True:
            page = self._gateway.call(
                "GET", f"/api/v1/tasks?limit=200{cursor}", headers=self.headers
            ).json
            count += len(page["data"])
            if page["next_cursor"] is None:
                return count
            cursor = f"&cursor={page['next_cursor']}"


def log_in(gateway: Gateway) -> dict[str, str]:
    """Create a user and return the headers that authenticate it."""
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    gateway.call("POST", "/api/v1/auth/register", account)
    login = gateway.call("POST", "/api/v1/auth/login", {"username": name, "password": PASSWORD})
    return {"Authorization": f"Bearer {login.json['access_token']}"}


def run(deployment: Deployment, restarts: int) -> tuple[Mapping[str, int], int]:
    """Restart the servers in turn under load; return the outcomes and the number of tasks."""
    stop = Event()
    clients = [LoadingClient(deployment.gateway, stop) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for number in range(restarts):
            time.sleep(1)
            server = deployment.servers[number % len(deployment.servers)]
            server.stop(signal.SIGTERM)
            server.start()
        time.sleep(1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    outcomes = sum((client.outcomes for client in clients), Counter[str]())
    return outcomes, sum(client.count_tasks() for client in clients)


def main() -> None:
    """Print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=4)
    arguments = parser.parse_args()
    with deployed() as deployment:
        outcomes, tasks = run(deployment, arguments.restarts)
    print(f"{arguments.restarts} restarts, outcomes {dict(outcomes)}, {tasks} tasks created")
    sys.exit(outcomes.keys() != {"201"})


if __name__ == "__main__":
    main()
