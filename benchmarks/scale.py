"""Measure reads of our server against the size of the table: one account with all of the tasks.

    python benchmarks/scale.py --tasks 1000,100000,1000000 --json scale.json
    python benchmarks/scale.py --from scale.json --report docs/performance.md --plots docs/images

Every order is walked to its end once, which must show each task, once; then its first page, its
last, and where some keys are null the page on the border are read again and again.
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

import data
import drive
import surroundings
import tables
from server import Client, Server
from servers import end_on_term, filled_one

OTHERS = 9_999
SORTS = ("created_at", "updated_at", "due", "priority", "title", "position")
LIMIT = 50
WALKED = 200
TIMES = 20
Results = list[dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A server with a table of some size, and the pages of it that are read."""

    tasks: int
    server: Server
    client: Client
    paths: Mapping[str, str]

    def read(self, name: str, number: int) -> float:
        """Return the milliseconds that one read takes: the median of several, in one round."""
        times = []
        for turn in range(TIMES):
            path = anew(self.paths[name], number * TIMES + turn)
            start = time.perf_counter()
            status, body = self.client.call("GET", path)
            times.append((time.perf_counter() - start) * 1000)
            if status != 200:
                raise SystemExit(f"{name} of {self.tasks} answered {status}: {body}")
        return median(times)


def anew(path: str, number: int) -> str:
    """Return a path that means the same and was not read before, so nothing remembered answers.

    Letters of the query's first parameter are percent-encoded, those of the number's bits; of
    single tasks another is read.
    """
    place, _, query = path.partition("?")
    if not query:
        folder, _, task_id = place.rpartition("/")
        return f"{folder}/{int(task_id) + number}"
    first, ampersand, rest = query.partition("&")
    bits = iter(f"{number:b}"[::-1])
    written = "".join(
        f"%{ord(sign):02X}" if sign.isalpha() and next(bits, "0") == "1" else sign for sign in first
    )
    return f"{place}?{written}{ampersand}{rest}"


def logged_in(server: Server) -> Client:
    client = Client(server.port)
    client.log_in(data.usernames(1)[0], data.PASSWORD)
    return client


def opened(server: Server, tasks: int) -> Table:
    """Log in, and find the pages."""
    client = logged_in(server)
    paths = {"one task": f"/tasks/{tasks // 2}"}
    for sort in SORTS:
        for sign in ("", "-"):
            paths |= _pages(client, sign + sort, tasks)
            print(f"{tasks} tasks: walked {sign}{sort}", file=sys.stderr, flush=True)
    return Table(tasks, server, client, paths)


def _pages(client: Client, sort: str, tasks: int) -> Iterator[tuple[str, str]]:
    path = f"/tasks?sort={sort}&limit={WALKED}"
    first = f"/tasks?sort={sort}&limit={LIMIT}"
    yield f"{sort}, first", first
    cursor = ""
    seen: set[int] = set()
    was_due = True
    while True:
        status, page = client.call("GET", path + cursor)
        if status != 200:
            raise SystemExit(f"{sort} of {tasks} answered {status}: {page}")
        seen.update(task["id"] for task in page["data"])
        is_due = _ends_due(page)
        if sort.endswith("due") and was_due and not is_due:
            yield f"{sort}, where nulls begin", first + _border(client, first, cursor)
            was_due = False
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    if len(seen) != tasks:
        raise SystemExit(f"{sort} showed {len(seen)} of {tasks} tasks.")
    yield f"{sort}, last", first + cursor


def _ends_due(page: Any) -> bool:
    last = page["data"][-1]
    return bool(last["due_date"] or last["due_at"])


def _border(client: Client, first: str, cursor: str) -> str:
    """Return the cursor of the page that holds the last keys and the first nulls."""
    while True:
        status, page = client.call("GET", first + cursor)
        if status != 200:
            raise SystemExit(f"{first}{cursor} answered {status}: {page}")
        if not _ends_due(page):
            return cursor
        cursor = f"&cursor={page['next_cursor']}"


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure all that is asked for."""
    results: Results = []
    memory: Results = []
    databases = ("sqlite", "postgresql") if asked.database == "both" else (asked.database,)
    for database in databases:
        where = asked.postgresql if database == "postgresql" else None
        with ExitStack() as stack:
            opened_tables = []
            for tasks in asked.tasks:
                one = filled_one("ours", where, users=1, each=tasks, others=OTHERS)
                server = stack.enter_context(one)
                before = drive.memory(server.process.pid)
                opened_tables.append(opened(server, tasks))
                memory.append({"database": database, "tasks": tasks, "before": before})
            for sample in _rounds(opened_tables, asked.rounds):
                results.append({"database": database, **sample})
            for table, told in zip(opened_tables, memory[-len(opened_tables) :], strict=True):
                told["after"] = drive.memory(table.server.process.pid)
    how = (
        f"one client, medians of {asked.rounds} rounds of the medians of {TIMES} requests;"
        f" pages of {LIMIT}; {OTHERS + 1:,} accounts, of which one has all tasks"
    )
    return {"about": surroundings.about(how), "results": results, "memory": memory}


def _rounds(opened_tables: list[Table], count: int) -> Iterator[dict[str, Any]]:
    """Read each page of each table in turn, another table first in each round."""
    for number in range(count):
        # The last tokens and connections may be too old by now.
        fresh = [replace(table, client=logged_in(table.server)) for table in opened_tables]
        for name in fresh[0].paths:
            for table in drive.in_turn(fresh, number):
                if name in table.paths:
                    ms = table.read(name, number)
                    yield {"tasks": table.tasks, "read": name, "round": number, "ms": ms}


def options() -> argparse.ArgumentParser:
    """Declare what may be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--database", choices=("sqlite", "postgresql", "both"), default="both")
    add("--postgresql", default=surroundings.POSTGRES, help="the server (%(default)s)")
    add("--tasks", type=lambda text: sorted(map(int, text.split(","))),
        default=[1_000, 100_000, 1_000_000], help="sizes of the table")  # fmt: skip
    add("--rounds", type=int, default=9)
    tables.add_options(parser)
    return parser


def main() -> None:
    """Measure, and tell it in every way that is asked for."""
    asked = options().parse_args()
    end_on_term()
    told = json.loads(asked.source.read_text()) if asked.source else run(asked)
    tables.tell("scale", told, tables.of_scale(told), asked)


if __name__ == "__main__":
    main()
