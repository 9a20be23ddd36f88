"""Kill the server in the middle of many creates: every task answered 201 must be there, once.

    python benchmarks/crash.py --creates 1000 [--database postgresql://postgres@127.0.0.1/postgres]

Prints one JSON object; ends with status 1 when a task is lost or doubled.
"""

import argparse
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from load import PASSWORD, stored
from server import Client, Server, started

CLIENTS = 8


def create(
    server: Server, numbers: list[int], told: dict[int, str], enough: threading.Event
) -> None:
    """Create one task after another until the server is gone; note each 201."""
    client = Client(server.port)
    client.log_in("crash", PASSWORD)
    for number in numbers:
        try:
            status, body = client.call("POST", "/tasks", {"title": f"Task {number}"})
        except (OSError, HTTPException, ValueError):
            return
        if status == 201:
            told[body["id"]] = body["title"]
        if len(told) >= len(numbers) * CLIENTS // 2:
            enough.set()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--creates", type=int, default=1000)
    options.add_argument("--database", help="a PostgreSQL server; SQLite when left out")
    asked = options.parse_args()
    told: dict[int, str] = {}
    enough = threading.Event()
    with started(asked.database) as server:
        account = {"username": "crash", "email": "crash@example.com", "password": PASSWORD}
        Client(server.port).call("POST", "/auth/register", account)
        shares = [list(range(first, asked.creates, CLIENTS)) for first in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(create, server, share, told, enough) for share in shares]
            enough.wait(timeout=60)
            server.kill()
            for client in clients:
                client.result()
        server.start()
        client = Client(server.port)
        client.log_in("crash", PASSWORD)
        rows = stored(client)
    report = {
        "answered 201": len(told),
        "stored": len(rows),
        "lost": sum(dict(rows).get(task_id) != title for task_id, title in told.items()),
        "doubled": len(rows) - len({title for _, title in rows}),
    }
    print(json.dumps(report))
    return int(bool(report["lost"] or report["doubled"]) or not 0 < len(told) < asked.creates)


if __name__ == "__main__":
    sys.exit(main())
