"""Benchmark of our server and its peers: the same rows and requests, interleaved.

    pipenv run bench --quick
    pipenv run bench --rounds 3 --seconds 2 --json results.json
    pipenv run bench --from results.json --report docs/performance.md --plots docs/images

Prints tables of requests per second, latencies and CPU time. Stops at the first wrong response.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import dataset, load_generator, report, targets
from benchmarks.operations import API, HELLO, OPERATIONS, Operation, Request, User, check, exchange
from benchmarks.server import Server

CLIENTS = 16
# Access tokens expire after 15 minutes; a measurement must not outlive them.
TOKEN_TTL_SECONDS = 8 * 60
Sample = dict[str, Any]


class Bench:
    """The servers on one database, and the clients of each server."""

    def __init__(self, servers: Mapping[str, Server], tasks_per_user: int) -> None:
        self.servers = servers
        self._users = {
            name: [
                User(server.port, user_id, dataset.task_ids(user_id, CLIENTS, tasks_per_user))
                for user_id in range(1, CLIENTS + 1)
            ]
            for name, server in servers.items()
        }
        self._tokens_expire_at: dict[str, float] = {}

    def users(self, name: str) -> list[User]:
        """Return the clients of a server, with fresh tokens."""
        users = self._users[name]
        now = time.monotonic()
        if name != "hello" and now > self._tokens_expire_at.get(name, -math.inf):
            _each(User.log_in, users)
            self._tokens_expire_at[name] = now + TOKEN_TTL_SECONDS
        return users

    def check_access_control(self, name: str) -> None:
        """Check that a server wants a token and hides the tasks of other users."""
        first, second, *_ = self.users(name)
        request = Request("GET", f"{API}/tasks/{second.tasks[0]}")
        for status, token in ((401, None), (404, first.token), (200, second.token)):
            response = exchange(first.port, request.encode(token))
            if response.status != status:
                raise SystemExit(f"{name}: {response.status} instead of {status}: {response.body}")

    def measure(self, name: str, operation_name: str, number: int, seconds: float) -> Sample:
        """Warm a server up and measure one operation."""
        operation = HELLO if name == "hello" else OPERATIONS[operation_name]
        requests = self._requests(name, operation, number)
        pid, port = self.servers[name].process.pid, self.servers[name].port
        check(name, operation_name, operation, port, requests[0][0])
        # In reverse, so that the requests that are measured are new to the server.
        warm_up = [sequence[::-1] for sequence in requests]
        load_generator.measure(pid, port, warm_up, min(1, seconds / 3), await_last=True)
        await_last = operation_name == "login" and name != "hello"
        return load_generator.measure(pid, port, requests, seconds, await_last=await_last)

    def _requests(self, name: str, operation: Operation, number: int) -> list[list[bytes]]:
        def encode(user: User) -> list[bytes]:
            token = user.token if operation.authenticated else None
            return [request.encode(token) for request in operation.requests(user, number)]

        return _each(encode, self.users(name))


def _each(function: Any, users: Sequence[User]) -> list[Any]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, users))


def turns(
    names: Sequence[str], operations: Sequence[str], rounds: int
) -> Iterator[tuple[str, int, str]]:
    """Yield operation, round and server; each round begins with another server."""
    for operation in operations:
        measured = [name for name in names if name == "ours" or not OPERATIONS[operation].only_ours]
        for number in range(rounds):
            first = number % len(measured) if measured else 0
            for name in measured[first:] + measured[:first]:
                yield operation, number, name


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the samples with what they depend on."""
    samples: list[Sample] = []
    for database, server in report.databases(arguments):
        with targets.all_filled(
            arguments.servers, server, users=CLIENTS, tasks_per_user=arguments.tasks
        ) as servers:
            bench = Bench(servers, arguments.tasks)
            for name in servers.keys() - {"hello"}:
                bench.check_access_control(name)
            for operation, number, name in turns(
                arguments.servers, arguments.only, arguments.rounds
            ):
                figures = bench.measure(name, operation, number, arguments.seconds)
                sample = {"database": database, "operation": operation, "server": name}
                samples.append({**sample, "round": number, **figures})
                print(report.progress(samples[-1]), file=sys.stderr, flush=True)
    method = (
        f"{load_generator.name()}, {CLIENTS} clients, medians of {arguments.rounds} rounds of"
        f" {arguments.seconds:g} seconds; {CLIENTS} users with {arguments.tasks} tasks each"
    )
    return {"about": report.about(method), "results": samples}


def names_of(known: Sequence[str]) -> Any:
    """Return an argparse type that reads comma-separated names."""

    def read(text: str) -> list[str]:
        names = {name.strip() for name in text.split(",")}
        if unknown := names - set(known):
            raise argparse.ArgumentTypeError(f"{unknown} is not among {known}")
        return [name for name in known if name in names]

    return read


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = arguments.add_argument
    add("--servers", type=names_of(targets.NAMES), default=list(targets.NAMES),
        help="comma-separated: " + ", ".join(targets.NAMES))  # fmt: skip
    add("--only", type=names_of(list(OPERATIONS)), default=list(OPERATIONS),
        help="comma-separated: " + ", ".join(OPERATIONS))  # fmt: skip
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=5, help="of each measurement (%(default)s)")
    add("--tasks", type=int, default=1000, help="of each user, at least 500 (%(default)s)")
    add("--quick", action="store_true", help="one round of a second, 500 tasks for each user")
    report.add_arguments(arguments)
    return arguments


def main() -> None:
    """Measure, or read earlier results, and report."""
    arguments = parser().parse_args()
    targets.exit_on_sigterm()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.tasks = 1, 1, 500
    results = json.loads(arguments.source.read_text()) if arguments.source else run(arguments)
    report.publish("bench", results, report.bench_tables(results), arguments)


if __name__ == "__main__":
    main()
