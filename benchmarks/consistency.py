"""Consistency test: many clients read and write at once, and every row must be as they left it.

    pipenv run python -m benchmarks.consistency --clients 64 --seconds 30 [--database SERVER]

Prints a JSON object. Exits with status 1 on an unexpected response, and on a lost, duplicated or
stale row.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count, takewhile
from threading import Barrier

from benchmarks.server import Client, started

PASSWORD = "correct horse battery"  # noqa: S105  # of users in a throwaway database
USERS = 8
LOGIN_TIMEOUT_SECONDS = 120
# Each with its weight.
ACTIONS = {"create": 20, "patch": 15, "delete": 5, "get": 40, "list": 20}
SORTS = ("created_at", "-created_at", "due", "-priority", "title", "position")
FAILURES = ("failed", "duplicated", "lost", "unexpected", "different")


@dataclass
class ClientLog:
    """The responses to one client, counted by action and status, and its tasks afterwards."""

    responses: Counter[str] = field(default_factory=Counter)
    titles: dict[int, str] = field(default_factory=dict)


def use_api(client: Client, log: ClientLog, number: int, seconds: float) -> None:
    """Send random requests until the time is over; the first creates a task."""
    chance = random.Random(number)
    until = time.monotonic() + seconds
    for turn in takewhile(lambda turn: not turn or time.monotonic() < until, count()):
        recent = list(log.titles)[-20:]
        [action] = chance.choices([*ACTIONS], [*ACTIONS.values()]) if recent else ["create"]
        task_id = chance.choice(recent) if recent else 0
        title = f"{number}.{turn}"
        if action == "create":
            new = {"title": title, "due_date": "2030-01-31"}
            status, body = client.call("POST", "/tasks", new)
            if status == 201:
                log.titles[body["id"]] = title
        elif action == "list":
            status, body = client.call("GET", f"/tasks?limit=20&sort={chance.choice(SORTS)}")
        elif action == "get":
            status, body = client.call("GET", f"/tasks/{task_id}")
            if status == 200 and body["title"] != log.titles[task_id]:
                log.responses["stale read"] += 1
        elif action == "patch":
            status, body = client.call("PATCH", f"/tasks/{task_id}", {"title": title})
            if status == 200:
                log.titles[task_id] = title
        else:
            status, body = client.call("DELETE", f"/tasks/{task_id}")
            if status == 204:
                del log.titles[task_id]
        log.responses[f"{action} {status}"] += 1


def run_client(port: int, number: int, seconds: float, all_logged_in: Barrier) -> ClientLog:
    """Run one client, which starts when all have logged in."""
    log = ClientLog()
    client = Client(port)
    client.log_in(f"user{number % USERS}", PASSWORD)
    all_logged_in.wait(LOGIN_TIMEOUT_SECONDS)
    try:
        use_api(client, log, number, seconds)
    except (OSError, HTTPException) as error:
        log.responses[f"broken connection: {error!r}"] += 1
    return log


def stored_tasks(client: Client) -> list[tuple[int, str]]:
    """Return the ids and titles on all pages of the list."""
    rows: list[tuple[int, str]] = []
    cursor = ""
    while True:
        status, page = client.call("GET", f"/tasks?limit=200{cursor}")
        if status != 200:
            raise RuntimeError(f"The list failed with {status}: {page}")
        rows += [(task["id"], task["title"]) for task in page["data"]]
        if page["next_cursor"] is None:
            return rows
        cursor = f"&cursor={page['next_cursor']}"


def compare(logs: list[ClientLog], rows: list[tuple[int, str]]) -> dict[str, object]:
    """Return the report."""
    responses = sum((log.responses for log in logs), Counter[str]())
    expected = {task_id: title for log in logs for task_id, title in log.titles.items()}
    stored = dict(rows)
    return {
        "requests": responses.total(),
        "responses": dict(sorted(responses.items())),
        "failed": sum(
            number for name, number in responses.items() if not name.endswith(("200", "201", "204"))
        ),
        "rows": len(rows),
        "duplicated": len(rows) - len(stored),
        "lost": len(expected.keys() - stored.keys()),
        "unexpected": len(stored.keys() - expected.keys()),
        "different": sum(
            stored.get(task_id, title) != title for task_id, title in expected.items()
        ),
    }


def main() -> int:
    """Run the test and print its report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--database", help="a PostgreSQL server; SQLite by default")
    arguments = parser.parse_args()
    with started(arguments.database) as server:
        reader = Client(server.port)
        for number in range(USERS):
            name = f"user{number}"
            user = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            reader.call("POST", "/auth/register", user)
        all_logged_in = Barrier(arguments.clients)
        with ThreadPoolExecutor(arguments.clients) as pool:
            clients = [
                pool.submit(run_client, server.port, number, arguments.seconds, all_logged_in)
                for number in range(arguments.clients)
            ]
            logs = [client.result() for client in clients]
        rows = []
        for number in range(USERS):
            reader.log_in(f"user{number}", PASSWORD)
            rows += stored_tasks(reader)
    report = compare(logs, rows)
    print(json.dumps(report, indent=1))
    return int(any(report[name] for name in FAILURES) or not report["requests"])


if __name__ == "__main__":
    sys.exit(main())
