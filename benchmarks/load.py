"""Let many clients read and write at once: every row must be there, once, as was answered.

    python benchmarks/load.py --clients 64 --seconds 30 [--database postgresql://postgres@127.0.0.1/postgres]

Prints one JSON object; ends with status 1 on any 5xx, broken connection, lost or doubled row.
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

from server import Client, started

PASSWORD = "correct horse battery"  # noqa: S105  # of accounts that live as long as the run
ACCOUNTS = 8
PATIENCE = 120
ACTS = ("create", "patch", "delete", "read", "list")
SORTS = ("created_at", "-created_at", "due", "-priority", "title", "position")


@dataclass
class Seen:
    """What one client was told: how calls were answered, and the titles that its tasks have."""

    answers: Counter[str] = field(default_factory=Counter)
    titles: dict[int, str] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)


def use(client: Client, seen: Seen, number: int, seconds: float) -> None:
    """Create, change, delete, read and list until the time is over; create once at the least."""
    chance = random.Random(number)
    until = time.monotonic() + seconds
    for turn in takewhile(lambda turn: not turn or time.monotonic() < until, count()):
        known = list(seen.titles)[-20:]
        act = chance.choices(ACTS, (20, 15, 5, 40, 20))[0] if known else "create"
        title = f"{number}.{turn}"
        if act == "create":
            status, body = client.call("POST", "/tasks", {"title": title, "due_date": "2030-01-31"})
            if status == 201:
                seen.titles[body["id"]] = title
        elif act == "list":
            status, body = client.call("GET", f"/tasks?limit=20&sort={chance.choice(SORTS)}")
        else:
            task_id = chance.choice(known)
            if act == "read":
                status, body = client.call("GET", f"/tasks/{task_id}")
                if status == 200 and body["title"] != seen.titles[task_id]:
                    seen.answers["stale read"] += 1
            elif act == "patch":
                status, body = client.call("PATCH", f"/tasks/{task_id}", {"title": title})
                if status == 200:
                    seen.titles[task_id] = title
            else:
                status, body = client.call("DELETE", f"/tasks/{task_id}")
                if status == 204:
                    del seen.titles[task_id]
                    seen.deleted.add(task_id)
        seen.answers[f"{act} {status}"] += 1


def run_client(port: int, number: int, seconds: float, all_logged_in: Barrier) -> Seen:
    seen = Seen()
    client = Client(port)
    client.log_in(f"load{number % ACCOUNTS}", PASSWORD)
    all_logged_in.wait(PATIENCE)
    try:
        use(client, seen, number, seconds)
    except (OSError, HTTPException) as error:
        seen.answers[f"broken: {error!r}"] += 1
    return seen


def stored(client: Client) -> list[tuple[int, str]]:
    """Walk every page and return ids and titles."""
    rows: list[tuple[int, str]] = []
    cursor = ""
    while True:
        status, page = client.call("GET", f"/tasks?limit=200{cursor}")
        if status != 200:
            raise RuntimeError(f"A list answered {status}: {page}")
        rows += [(task["id"], task["title"]) for task in page["data"]]
        if page["next_cursor"] is None:
            return rows
        cursor = f"&cursor={page['next_cursor']}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("--database", help="a PostgreSQL server; SQLite when left out")
    asked = options.parse_args()
    with started(asked.database) as server:
        first = Client(server.port)
        for number in range(ACCOUNTS):
            name = f"load{number}"
            account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            first.call("POST", "/auth/register", account)
        all_logged_in = Barrier(asked.clients)
        with ThreadPoolExecutor(asked.clients) as pool:
            clients = [
                pool.submit(run_client, server.port, number, asked.seconds, all_logged_in)
                for number in range(asked.clients)
            ]
            told = [client.result() for client in clients]
        rows = []
        for number in range(ACCOUNTS):
            first.log_in(f"load{number}", PASSWORD)
            rows += stored(first)
    answers = sum((seen.answers for seen in told), Counter[str]())
    expected = {task_id: title for seen in told for task_id, title in seen.titles.items()}
    report = {
        "calls": answers.total(),
        "answers": dict(sorted(answers.items())),
        "bad": sum(n for name, n in answers.items() if not name.endswith(("200", "201", "204"))),
        "rows": len(rows),
        "doubled": len(rows) - len(dict(rows)),
        "lost": len(expected.keys() - dict(rows).keys()),
        "unasked": len(dict(rows).keys() - expected.keys()),
        "different": sum(
            dict(rows).get(task_id, title) != title for task_id, title in expected.items()
        ),
    }
    print(json.dumps(report, indent=1))
    wrong = ("bad", "doubled", "lost", "unasked", "different")
    return int(any(report[name] for name in wrong) or not report["calls"])


if __name__ == "__main__":
    sys.exit(main())
