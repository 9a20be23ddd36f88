"""Crash test: kill the server during many creates; each task answered with 201 must exist once.

    pipenv run python -m benchmarks.crash --creates 1000 [--database SERVER]

Prints a JSON object. Exits with status 1 if a task is lost or stored twice.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from threading import Event

from benchmarks.consistency import PASSWORD, stored_tasks
from benchmarks.server import Client, Server, started

CLIENTS = 8
USERNAME = "crash"


def create(server: Server, numbers: range, created: dict[int, str], enough: Event) -> None:
    """Create one task after another until the server fails, and record each 201."""
    client = Client(server.port)
    client.log_in(USERNAME, PASSWORD)
    for number in numbers:
        try:
            status, body = client.call("POST", "/tasks", {"title": f"Task {number}"})
        except (OSError, HTTPException, ValueError):
            return
        if status == 201:
            created[body["id"]] = body["title"]
        if len(created) >= len(numbers) * CLIENTS // 2:
            enough.set()


def main() -> int:
    """Run the test and print its report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--creates", type=int, default=1000)
    parser.add_argument("--database", help="a PostgreSQL server; SQLite by default")
    arguments = parser.parse_args()
    created: dict[int, str] = {}
    enough = Event()
    with started(arguments.database) as server:
        user = {"username": USERNAME, "email": f"{USERNAME}@example.com", "password": PASSWORD}
        Client(server.port).call("POST", "/auth/register", user)
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [
                pool.submit(create, server, numbers, created, enough)
                for first in range(CLIENTS)
                for numbers in [range(first, arguments.creates, CLIENTS)]
            ]
            enough.wait(timeout=60)
            server.kill()
            for client in clients:
                client.result()
        server.start()
        reader = Client(server.port)
        reader.log_in(USERNAME, PASSWORD)
        rows = stored_tasks(reader)
    titles = dict(rows)
    report = {
        "created": len(created),
        "stored": len(rows),
        "lost": sum(titles.get(task_id) != title for task_id, title in created.items()),
        "duplicated": len(rows) - len({title for _, title in rows}),
    }
    print(json.dumps(report))
    failed = report["lost"] or report["duplicated"]
    # The kill must have come in the middle.
    return int(bool(failed) or not 0 < len(created) < arguments.creates)


if __name__ == "__main__":
    sys.exit(main())
