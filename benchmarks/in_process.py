"""Time our application within one process, beside a bare Flask route: no server, no socket.

    pipenv run python benchmarks/in_process.py --tasks 1000
    pipenv run python benchmarks/in_process.py --database postgresql --rounds 15

Prints the processor time of each operation, and how many times that of the bare route it is. Rounds
take turns, each of so many requests; figures are medians of the rounds, ratios of each round's own.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time_ns
from typing import Any
from urllib.parse import urlsplit

import data
import orjson
import servers
import surroundings
from flask import Flask, jsonify
from operations import HELLO, OPERATIONS, Caller, Sent, logged_in

ACCOUNTS = 16
# In this order: what is created would make later lists dearer.
MEASURED = ("get", "list", "list, remembered", "filtered list", "patch", "create")


def run(asked: argparse.Namespace) -> None:
    """Measure each operation, and print what it took."""
    where = asked.postgresql if asked.database == "postgresql" else None
    with servers.filled_one("ours", where, users=ACCOUNTS, each=asked.tasks) as server:
        tasks = data.task_ids(1, ACCOUNTS, asked.tasks)
        caller = logged_in("ours", Caller(server.port, 1, tasks))
        # Its database is there, and its settings are those of production.
        server.kill()
        with TemporaryDirectory() as counts:
            os.environ.update(server.environ, PROMETHEUS_MULTIPROC_DIR=counts)
            _measure(caller, asked)


def _measure(caller: Caller, asked: argparse.Namespace) -> None:
    sys.path.insert(0, str(data.ROOT))
    taken: dict[str, list[float]] = {name: [] for name in ("hello", *MEASURED)}
    # The log has its lines, and nobody reads them.
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        app = import_module("app").create_app()
        for number in range(asked.rounds + 1):
            for name, found in taken.items():
                found.append(_one_round(app, caller, name, number, asked.requests))
    print(surroundings.about(f"one process, {asked.rounds} rounds of {asked.requests} requests"))
    print("\n| operation | CPU µs | times a bare route |\n|---|---:|---:|")
    for name, (_warm_up, *found) in taken.items():
        ratios = (one / bare for one, bare in zip(found, taken["hello"][1:], strict=True))
        print(f"| {name} | {median(found):.0f} | {median(ratios):.2f} |")


def _one_round(app: Flask, caller: Caller, name: str, number: int, requests: int) -> float:
    """Return the microseconds of processor time that each request took."""
    operation = HELLO if name == "hello" else OPERATIONS[name.partition(",")[0]]
    asked = app if name != "hello" else BARE
    forget = _forgetting(app) if name in {"list", "filtered list"} else None
    sent = cycle(operation.requests(caller, number))
    environs = [_environ(one, caller.token) for one in islice(sent, requests)]
    started = process_time_ns()
    answers = [_answer(asked, environ, forget) for environ in environs]
    spent = process_time_ns() - started
    for status, body in answers:
        if status != operation.status or not operation.check(orjson.loads(body)):
            raise SystemExit(f"{name} was answered wrongly: {status} {body[:2000]!r}")
    return spent / requests / 1000


def _forgetting(app: Flask) -> Callable[[], object]:
    """Return what has no list remembered any more."""
    memory = app.extensions["cache"]
    [held] = memory.values()
    forget: Callable[[], object] = held.clear
    return forget


def _environ(sent: Sent, token: str | None) -> dict[str, Any]:
    """Return a request as a server hands it to an application (PEP 3333)."""
    path, query = urlsplit(sent.path)[2:4]
    body = b"" if sent.body is None else orjson.dumps(sent.body)
    told = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))} if body else {}
    return told | {
        "REQUEST_METHOD": sent.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:5000",
        "HTTP_ACCEPT": "application/json",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
    }


def _answer(
    app: Flask, environ: dict[str, Any], before: Callable[[], object] | None
) -> tuple[int, bytes]:
    """Return the status and the body of an answer (PEP 3333)."""
    if before is not None:
        before()
    told: list[Any] = []
    parts = app(environ, lambda *said: told.extend(said))
    body = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    return int(told[0][:3]), body


BARE = Flask("bare")


@BARE.get("/")
def hello() -> Any:
    return jsonify(message="hello")


def options() -> argparse.ArgumentParser:
    """Declare what may be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--database", choices=("sqlite", "postgresql"), default="sqlite")
    add("--postgresql", default=surroundings.POSTGRES)
    add("--rounds", type=int, default=9)
    add("--requests", type=int, default=300, help="of each operation in a round (%(default)s)")
    add("--tasks", type=int, default=1000, help="of each of the accounts (%(default)s)")
    return parser


def main() -> None:
    """Measure what is asked for."""
    asked = options().parse_args()
    servers.end_on_term()
    run(asked)


if __name__ == "__main__":
    main()
