"""Fault test: stop one part of an installation while clients write; nothing confirmed may be lost.

    pipenv run python -m benchmarks.faults --fault postgresql --clients 32 --seconds 10 --pause 5
    pipenv run python -m benchmarks.faults --fault worker postgresql redis celery broker --hurry

Starts its own PostgreSQL, two Redis servers, the API, a Celery worker and a mail server that keeps
what it receives. Each created task causes a mail; some clients request exports. Prints a JSON
object with an entry for each fault. Exits with status 1 if something was lost, duplicated or
answered with an unexpected error.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from benchmarks.faults.installation import NAMES, Installation, installed, wait_for
from benchmarks.faults.results import (
    FAILURES,
    Outage,
    check_exports,
    check_responses,
    check_tasks,
    count_repeated,
)
from benchmarks.faults.writers import EXPORTS, Confirmed, Writer
from benchmarks.targets import exit_on_sigterm

# Enough for a lease of a minute, and for a lost message, which is sent again after a minute.
DRAIN_TIMEOUT_SECONDS = 600
# With --hurry, so many seconds without progress stand for those minutes.
STALL_SECONDS = 2
COUNT_OUTBOX = "SELECT count(*) FROM outbox"
COUNT_RUNNING_JOBS = "SELECT count(*) FROM jobs WHERE state = 'running'"
EXPIRE_LEASES = "UPDATE outbox SET due_at = now(), locked_until = NULL"


def kill_a_worker(installation: Installation, _pause: float) -> None:
    """Kill a worker process of the API, which gunicorn replaces."""
    before = installation.server.workers()
    os.kill(before[0], signal.SIGKILL)

    def is_replaced() -> bool:
        return len(set(installation.server.workers()) - {before[0]}) == len(before)

    wait_for(is_replaced, "a new worker")


def restart_postgresql(installation: Installation, pause: float) -> None:
    """Restart PostgreSQL as an administrator does, and again as after a crash."""
    for signal_number in (signal.SIGINT, signal.SIGQUIT):
        installation.postgresql.stop(signal_number)
        time.sleep(pause / 2)
        installation.postgresql.start()


def restart_redis(installation: Installation, pause: float) -> None:
    """Restart the Redis of the rate limits and the one of Celery, which may be the same server."""
    installation.redis.stop()
    installation.broker.stop()
    time.sleep(pause)
    installation.redis.start()
    installation.broker.start()


def kill_celery(installation: Installation, pause: float) -> None:
    """Kill the Celery worker with its pool, while it writes an export."""
    while True:
        wait_for(lambda: installation.count(COUNT_RUNNING_JOBS), "a running export")
        installation.celery.kill()
        if installation.count(COUNT_RUNNING_JOBS):
            break
        installation.celery.start()
    time.sleep(pause)
    installation.celery.start()


def restart_broker(installation: Installation, pause: float) -> None:
    """Restart the Redis of Celery."""
    installation.broker.stop()
    time.sleep(pause)
    installation.broker.start()


FAULTS: Mapping[str, Callable[[Installation, float], None]] = {
    "worker": kill_a_worker,
    "postgresql": restart_postgresql,
    "redis": restart_redis,
    "celery": kill_celery,
    "broker": restart_broker,
}


def run_fault(
    installation: Installation, fault: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Let clients write before, during and after a fault, and compare it with what is stored."""
    installation.log_in()
    confirmed = {name: Confirmed() for name in NAMES}
    duration = 2 * arguments.seconds + arguments.pause
    writers = [
        Writer(
            client=installation.client(name),
            confirmed=confirmed[name],
            name=f"{fault}-{number}",
            delay=arguments.delay,
            idempotent=number // len(NAMES) % 2 == 0,
            export_interval=duration / (EXPORTS + 1) if number < len(NAMES) else None,
        )
        for number in range(arguments.clients)
        for name in [NAMES[number % len(NAMES)]]
    ]
    done = Event()
    with ThreadPoolExecutor(len(writers)) as pool:
        running = [pool.submit(writer.write, done) for writer in writers]
        try:
            time.sleep(arguments.seconds)
            start = time.monotonic()
            FAULTS[fault](installation, arguments.pause)
            outage = Outage(start, time.monotonic())
            time.sleep(arguments.seconds)
        finally:
            done.set()
        for future in running:
            future.result()
    drained_from = time.monotonic()
    drain_outbox(installation, hurry=arguments.hurry)
    return (
        check_responses(writers, outage, fault)
        | {"seconds until the outbox was empty": round(time.monotonic() - drained_from, 1)}
        | check_tasks(installation, fault, confirmed)
        | check_exports(installation, confirmed)
        | {"work duplicated": count_repeated(installation.finished_messages())}
    )


def drain_outbox(installation: Installation, *, hurry: bool) -> None:
    """Wait until the outbox is empty. Raises TimeoutError."""
    left, changed_at = installation.count(COUNT_OUTBOX), time.monotonic()
    deadline = changed_at + DRAIN_TIMEOUT_SECONDS
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} messages are still in the outbox")
        time.sleep(0.1)
        before, left = left, installation.count(COUNT_OUTBOX)
        if left != before:
            changed_at = time.monotonic()
        elif hurry and time.monotonic() - changed_at > STALL_SECONDS:
            installation.execute(EXPIRE_LEASES)
            changed_at = time.monotonic()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = arguments.add_argument
    add("--fault", nargs="+", choices=FAULTS, default=list(FAULTS))
    add("--clients", type=int, default=32)
    add("--seconds", type=float, default=10, help="before the fault, and again after it")
    add("--pause", type=float, default=5, help="seconds that the part is down")
    add("--delay", type=float, default=0.3, help="seconds between two requests of a client")
    add("--hurry", action="store_true",
        help="expire the leases of dead processes instead of waiting for minutes")  # fmt: skip
    return arguments


def main() -> int:
    """Run the chosen faults, one after another, on one installation, and print the report."""
    arguments = parser().parse_args()
    exit_on_sigterm()
    with installed() as installation:
        report = {fault: run_fault(installation, fault, arguments) for fault in arguments.fault}
    print(json.dumps(report, indent=1))
    return int(any(entry[name] for entry in report.values() for name in FAILURES))


if __name__ == "__main__":
    sys.exit(main())
