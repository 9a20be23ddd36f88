"""Benchmark of our server against the size of the table: one user has all of the tasks.

    pipenv run python -m benchmarks.scale --tasks 1000,100000,1000000 --json scale.json
    pipenv run python -m benchmarks.scale --from scale.json --report docs/performance.md

Each sort order is first walked to its end, which must show every task once. Then its first and
last page are timed, and where nulls come last, the page on which they begin.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from benchmarks import dataset, load_generator, report, targets
from benchmarks.server import Client, Server

OTHER_USERS = 9_999
SORTS = ("created_at", "updated_at", "due", "priority", "title", "position")
LIMIT = 50
WALK_LIMIT = 200
REPEATS = 20
Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A server whose table has some size, and the paths that are read."""

    tasks: int
    server: Server
    client: Client
    paths: Mapping[str, str]

    def time(self, name: str) -> float:
        """Return the median of several requests in milliseconds."""
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            get(self.client, self.paths[name])
            times.append((time.perf_counter() - start) * 1000)
        return median(times)


def get(client: Client, path: str) -> Any:
    """Return the body of a response. Raises SystemExit unless its status is 200."""
    status, body = client.call("GET", path)
    if status != 200:
        raise SystemExit(f"{path}: {status} {body}")
    return body


def log_in(server: Server) -> Client:
    """Return a client of the user who has the tasks."""
    client = Client(server.port)
    client.log_in(dataset.usernames(1)[0], dataset.PASSWORD)
    return client


def walk_all(server: Server, tasks: int) -> Table:
    """Find the paths to read, by walking every sort order."""
    client = log_in(server)
    paths = {"one task": f"/tasks/{tasks // 2}"}
    for sort in SORTS:
        for sign in ("", "-"):
            paths |= _walk(client, sign + sort, tasks)
            print(f"{tasks} tasks: walked {sign}{sort}", file=sys.stderr, flush=True)
    return Table(tasks, server, client, paths)


def _walk(client: Client, sort: str, tasks: int) -> Iterator[tuple[str, str]]:
    first = f"/tasks?sort={sort}&limit={LIMIT}"
    yield f"{sort}, first", first
    cursor = ""
    seen: set[int] = set()
    nulls_began = False
    while True:
        page = get(client, f"/tasks?sort={sort}&limit={WALK_LIMIT}{cursor}")
        seen.update(task["id"] for task in page["data"])
        if sort.endswith("due") and not nulls_began and not _ends_with_due(page):
            yield f"{sort}, where nulls begin", first + _find_nulls(client, first, cursor)
            nulls_began = True
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    if len(seen) != tasks:
        raise SystemExit(f"The list sorted by {sort} showed {len(seen)} of {tasks} tasks.")
    yield f"{sort}, last", first + cursor


def _ends_with_due(page: Any) -> bool:
    last = page["data"][-1]
    return bool(last["due_date"] or last["due_at"])


def _find_nulls(client: Client, first: str, cursor: str) -> str:
    """Return the cursor of the page that has the first task without a due time."""
    while True:
        page = get(client, first + cursor)
        if not _ends_with_due(page):
            return cursor
        cursor = f"&cursor={page['next_cursor']}"


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the samples with what they depend on."""
    samples: Samples = []
    memory: Samples = []
    for database, database_server in report.databases(arguments):
        with ExitStack() as stack:
            tables = []
            for tasks in arguments.tasks:
                server = stack.enter_context(
                    targets.filled(
                        "ours", database_server, users=1, tasks_per_user=tasks, others=OTHER_USERS
                    )
                )
                before = load_generator.memory(server.process.pid)
                tables.append(walk_all(server, tasks))
                memory.append({"database": database, "tasks": tasks, "before": before})
            for sample in _rounds(tables, arguments.rounds):
                samples.append({"database": database, **sample})
            for table, figures in zip(tables, memory[-len(tables) :], strict=True):
                figures["after"] = load_generator.memory(table.server.process.pid)
    method = (
        f"one client, medians of {arguments.rounds} rounds of the medians of {REPEATS} requests;"
        f" pages of {LIMIT}; {OTHER_USERS + 1:,} users, one of them with all tasks"
    )
    return {"about": report.about(method), "results": samples, "memory": memory}


def _rounds(tables: list[Table], rounds: int) -> Iterator[dict[str, Any]]:
    """Time each path of each table; each round begins with another table."""
    for number in range(rounds):
        # The access tokens of the last round may have expired.
        current = [replace(table, client=log_in(table.server)) for table in tables]
        first = number % len(current)
        for name in current[0].paths:
            for table in current[first:] + current[:first]:
                if name in table.paths:
                    ms = table.time(name)
                    yield {"tasks": table.tasks, "read": name, "round": number, "ms": ms}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = arguments.add_argument
    add("--tasks", type=lambda text: sorted(map(int, text.split(","))),
        default=[1_000, 100_000, 1_000_000], help="sizes of the table")  # fmt: skip
    add("--rounds", type=int, default=9)
    report.add_arguments(arguments)
    return arguments


def main() -> None:
    """Measure, or read earlier results, and report."""
    arguments = parser().parse_args()
    targets.exit_on_sigterm()
    results = json.loads(arguments.source.read_text()) if arguments.source else run(arguments)
    report.publish("scale", results, report.scale_tables(results), arguments)


if __name__ == "__main__":
    main()
