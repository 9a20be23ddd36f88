"""Measure our server beside itself, with other settings, in turns, as bench.py does its peers.

    pipenv run python benchmarks/settings.py THREADS=16 THREADS=4 "THREADS=4 WEB_CONCURRENCY=1"
    pipenv run python benchmarks/settings.py --database postgresql --only get,patch THREADS=4

Each argument is one server: settings, separated by spaces; what is left out is as bench.py has it.
"""

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

import drive
import servers
import surroundings
from bench import CLIENTS, Field, names_of
from operations import OPERATIONS
from server import Server

# With how many places each is told.
FIGURES = {"cpu_us": 0, "rps": 0, "p99_ms": 1, "mib": 0}


def run(asked: argparse.Namespace) -> None:
    """Measure each operation with each setting, and print what it took."""
    where = asked.postgresql if asked.database == "postgresql" else None
    with ExitStack() as stack:
        started: dict[str, Server] = {}
        for setting in asked.settings:
            own = dict(pair.split("=", 1) for pair in setting.split())
            one = servers.filled_one("ours", where, users=CLIENTS, each=asked.tasks, own=own)
            started[setting] = stack.enter_context(one)
        field = Field(started, asked.database, asked.tasks)
        print(surroundings.about(f"{drive.generator()}, {CLIENTS} clients, {asked.rounds} rounds"))
        print("\n| operation | settings | CPU µs | requests a second | p99 ms | MiB a worker |")
        print("|---|---|---:|---:|---:|---:|")
        for operation in asked.only:
            samples: dict[str, list[Mapping[str, Any]]] = {setting: [] for setting in started}
            for number in range(asked.rounds):
                for setting in drive.in_turn(list(started), number):
                    figures = field.measure(setting, operation, number, asked.seconds)
                    samples[setting].append({**figures, "mib": _memory(started[setting])})
            for setting, found in samples.items():
                print(_line(operation, setting, found), flush=True)


def _memory(server: Server) -> float:
    """Return the MiB of one worker."""
    workers = server.workers()
    return sum(drive.memory(worker) for worker in workers) / len(workers) / 2**20


def _line(operation: str, setting: str, samples: list[Mapping[str, Any]]) -> str:
    told = (f"{median(one[key] for one in samples):.{places}f}" for key, places in FIGURES.items())
    return f"| {operation} | `{setting}` | {' | '.join(told)} |"


def options() -> argparse.ArgumentParser:
    """Declare what may be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("settings", nargs="+", metavar="SETTINGS")
    add("--database", choices=("sqlite", "postgresql"), default="sqlite")
    add("--postgresql", default=surroundings.POSTGRES)
    add("--only", type=names_of(list(OPERATIONS)), default=["get", "create"])
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=3)
    add("--tasks", type=int, default=500)
    return parser


def main() -> None:
    """Measure what is asked for."""
    asked = options().parse_args()
    servers.end_on_term()
    run(asked)


if __name__ == "__main__":
    main()
