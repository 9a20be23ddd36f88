"""Measure our server beside its peers: the same rows, the same requests, in turns.

    pipenv run bench --quick
    pipenv run bench --rounds 7 --seconds 10 --json results.json --plots docs/images
    pipenv run bench --from results.json --report docs/performance.md

Prints a table for each database and operation. It ends at once where a server answers wrongly.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import data
import drive
import surroundings
import tables
from operations import (
    API,
    HELLO,
    OPERATIONS,
    Caller,
    Operation,
    Sent,
    exchange,
    logged_in,
    require_right,
)
from server import Server
from servers import NAMES, end_on_term, filled

CLIENTS = 16
# Tokens live for 15 minutes.
RENEW_AFTER = 8 * 60
PATIENTLY = {"login"}
Sample = dict[str, Any]


class Field:
    """The servers on one database, and the clients of each.

    PostgreSQL, as it is installed, has too few connections for the threads of them all, so there
    each peer runs for its turn alone, beside ours.
    """

    def __init__(self, servers: Mapping[str, Server], database: str, each: int) -> None:
        self.servers = servers
        self.each = each
        self.turned_off = servers.keys() - {"ours", "hello"} if database == "postgresql" else set()
        for name in self.turned_off:
            servers[name].kill()
        self._turned_on: str | None = None
        self._callers: dict[str, list[Caller]] = {}
        self._logged_in: dict[str, float] = {}

    def callers(self, name: str) -> list[Caller]:
        """Return the clients of a server, with tokens that live for some minutes yet."""
        if time.monotonic() - self._logged_in.get(name, -RENEW_AFTER) >= RENEW_AFTER:
            self._callers[name] = self._log_in(name)
            self._logged_in[name] = time.monotonic()
        return self._callers[name]

    def turn_on(self, name: str) -> None:
        """Have a server run, instead of the last that is not to run beside others."""
        if name not in self.turned_off or name == self._turned_on:
            return
        if self._turned_on is not None:
            self.servers[self._turned_on].kill()
        self.servers[name].start()
        self._turned_on = name

    def _log_in(self, name: str) -> list[Caller]:
        """Log in at a server that runs."""
        callers = [
            Caller(self.servers[name].port, user_id, data.task_ids(user_id, CLIENTS, self.each))
            for user_id in range(1, CLIENTS + 1)
        ]
        if name == "hello":
            return callers
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(partial(logged_in, name), callers))

    def require_walls(self, name: str) -> None:
        """See that a server asks for a token and keeps accounts apart."""
        self.turn_on(name)
        first, second, *_ = self.callers(name)
        sent = Sent("GET", f"{API}/tasks/{second.tasks[0]}")
        for status, token in ((401, None), (404, first.token), (200, second.token)):
            told, _, body = exchange(first.port, sent.raw(token))
            if told != status:
                raise SystemExit(f"{name} answered {told} instead of {status}: {body}")

    def measure(self, name: str, operation: str, number: int, seconds: float) -> Sample:
        """Drive one server, which is warmed up before."""
        act = HELLO if name == "hello" else OPERATIONS[operation]
        self.turn_on(name)
        requests = self._requests(name, operation, act, number)
        pid, port = self.servers[name].process.pid, self.servers[name].port
        drive.measured(pid, port, requests, min(1, seconds / 3), patiently=True)
        patiently = operation in PATIENTLY and name != "hello"
        return drive.measured(pid, port, requests, seconds, patiently=patiently)

    def _requests(
        self, name: str, operation: str, act: Operation, number: int
    ) -> list[list[bytes]]:
        asked = []
        for caller in self.callers(name):
            token = caller.token if act.needs_token else None
            asked.append([sent.raw(token) for sent in act.requests(caller, number)])
        require_right(name, operation, act, self.servers[name].port, asked[0][0])
        return asked


def rounds(
    field: Field, operations: Sequence[str], count: int, seconds: float
) -> Iterator[tuple[str, int, str, Sample]]:
    """Measure operation by operation, round by round, each server in turn, another one first.

    A single round is one look at each server: it does all of its operations, one after another,
    and hello, which knows only one, does it once for them all.
    """
    turns = [
        (operation, number, name)
        for operation in operations
        for number in range(count)
        for name in drive.in_turn(_measured_with(operation, field.servers), number)
    ]
    if count == 1:
        order = list(field.servers)
        turns.sort(key=lambda turn: order.index(turn[2]))
    for_all: dict[str, Sample] = {}
    for operation, number, name in turns:
        sample = for_all.get(name) or field.measure(name, operation, number, seconds)
        if name == "hello" and count == 1:
            for_all[name] = sample
        yield operation, number, name, sample


def _measured_with(operation: str, names: Iterable[str]) -> list[str]:
    only = OPERATIONS[operation].only
    return [name for name in names if not only or name in only]


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure all that is asked for."""
    results: list[Sample] = []
    databases = ("sqlite", "postgresql") if asked.database == "both" else (asked.database,)
    for database in databases:
        where = asked.postgresql if database == "postgresql" else None
        with filled(asked.servers, where, users=CLIENTS, each=asked.tasks) as servers:
            field = Field(servers, database, asked.tasks)
            for name in servers.keys() - {"hello"}:
                field.require_walls(name)
            for operation, number, name, sample in rounds(
                field, asked.only, asked.rounds, asked.seconds
            ):
                place = {"database": database, "operation": operation, "server": name}
                results.append({**place, "round": number, **sample})
                print(tables.line(results[-1]), file=sys.stderr, flush=True)
    how = (
        f"{drive.generator()}, {CLIENTS} clients, medians of {asked.rounds} rounds of"
        f" {asked.seconds:g} seconds; {asked.tasks} tasks for each of {CLIENTS} accounts"
    )
    return {"about": surroundings.about(how), "results": results}


def names_of(known: Sequence[str]) -> Any:
    """Return a reader of comma-separated names."""

    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: none of {', '.join(known)}")
        return [name for name in known if name in names]

    return read


def options() -> argparse.ArgumentParser:
    """Declare what may be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--database", choices=("sqlite", "postgresql", "both"), default="both")
    add(
        "--postgresql",
        default=surroundings.POSTGRES,
        help="the server to make databases on (%(default)s)",
    )
    add("--servers", type=names_of(NAMES), default=list(NAMES), help=", ".join(NAMES))
    add("--only", type=names_of(list(OPERATIONS)), default=list(OPERATIONS),
        help=", ".join(OPERATIONS))  # fmt: skip
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=5, help="of each measurement")
    add("--tasks", type=int, default=1000, help="of each of the accounts (%(default)s)")
    add("--quick", action="store_true", help="one round of a second, 250 tasks each")
    tables.add_options(parser)
    return parser


def main() -> None:
    """Measure, and tell it in every way that is asked for."""
    asked = options().parse_args()
    end_on_term()
    if asked.quick:
        asked.rounds, asked.seconds, asked.tasks = 1, 1, 250
    told = json.loads(asked.source.read_text()) if asked.source else run(asked)
    tables.tell("bench", told, tables.of_bench(told), asked)


if __name__ == "__main__":
    main()
