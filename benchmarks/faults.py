"""Take away one part of an installation while many clients write: nothing answered may be lost.

    python benchmarks/faults.py --fault postgresql --clients 32 --seconds 10 --pause 5
    python benchmarks/faults.py --fault worker postgresql redis celery broker --hurry

Every part is started anew: PostgreSQL, two Redis servers, the API, a Celery worker, and a mail
server that keeps what it gets. Each task that is created causes a mail; some clients ask for
exports. Prints one JSON object, with an entry for each fault; ends with status 1 when something is
lost, doubled or wrongly answered.
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

from aftermath import WRONG, Away, answers, exports, repeated, tasks
from installation import NAMES, Installation, installed, wait_for
from servers import end_on_term
from writers import EXPORTS, Told, Writer

# What waits is done by then: leases of a minute, and a minute until what was sent is sent again.
LONGEST = 600
# With --hurry, so long without progress counts as those minutes.
STUCK = 2
WAITING = "SELECT count(*) FROM outbox"
RUNNING = "SELECT count(*) FROM jobs WHERE state = 'running'"
AS_IF_LATER = "UPDATE outbox SET due_at = now(), held_until = NULL"


def kill_a_worker(made: Installation, _pause: float) -> None:
    before = made.server.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: len(set(made.server.workers()) - {before[0]}) == len(before), "a new worker")


def restart_postgresql(made: Installation, pause: float) -> None:
    """Restart it in good order, as an administrator does, and again as after a crash."""
    for how in (signal.SIGINT, signal.SIGQUIT):
        made.postgresql.stop(how)
        time.sleep(pause / 2)
        made.postgresql.start()


def restart_redis(made: Installation, pause: float) -> None:
    """Stop what counts and what carries messages, as where one Redis is both."""
    made.redis.stop()
    made.broker.stop()
    time.sleep(pause)
    made.redis.start()
    made.broker.start()


def kill_celery(made: Installation, pause: float) -> None:
    """Kill Celery's worker, with its processes, while one of them writes an export."""
    while True:
        wait_for(lambda: made.count(RUNNING), "an export that runs")
        made.celery.kill()
        if made.count(RUNNING):
            break
        made.celery.start()
    time.sleep(pause)
    made.celery.start()


def stop_broker(made: Installation, pause: float) -> None:
    made.broker.stop()
    time.sleep(pause)
    made.broker.start()


FAULTS: Mapping[str, Callable[[Installation, float], None]] = {
    "worker": kill_a_worker,
    "postgresql": restart_postgresql,
    "redis": restart_redis,
    "celery": kill_celery,
    "broker": stop_broker,
}


def try_fault(made: Installation, fault: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Let clients write before, during and after a fault, and tell what became of all of it."""
    made.log_in()
    told = {name: Told() for name in NAMES}
    lasting = 2 * asked.seconds + asked.pause
    writers = [
        Writer(
            made.client(name := NAMES[number % len(NAMES)]),
            told[name],
            f"{fault}-{number}",
            asked.think,
            keyed=number // len(NAMES) % 2 == 0,
            exports_every=lasting / (EXPORTS + 1) if number < len(NAMES) else None,
        )
        for number in range(asked.clients)
    ]
    over = Event()
    with ThreadPoolExecutor(len(writers)) as pool:
        running = [pool.submit(writer.write, over) for writer in writers]
        try:
            time.sleep(asked.seconds)
            since = time.monotonic()
            FAULTS[fault](made, asked.pause)
            away = Away(since, time.monotonic())
            time.sleep(asked.seconds)
        finally:
            over.set()
        for one in running:
            one.result()
    began = time.monotonic()
    see_work_done(made, hurry=asked.hurry)
    return (
        answers(writers, away, fault)
        | {"seconds until all work was done": round(time.monotonic() - began, 1)}
        | tasks(made, fault, told)
        | exports(made, told)
        | {"done twice": repeated(made.work_done())}
    )


def see_work_done(made: Installation, *, hurry: bool) -> None:
    """Wait until the outbox is empty."""
    left, since = made.count(WAITING), time.monotonic()
    deadline = since + LONGEST
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} items are not done")
        time.sleep(0.1)
        before, left = left, made.count(WAITING)
        if left != before:
            since = time.monotonic()
        elif hurry and time.monotonic() - since > STUCK:
            made.run(AS_IF_LATER)
            since = time.monotonic()


def options() -> argparse.ArgumentParser:
    """Declare what may be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--fault", nargs="+", choices=FAULTS, default=list(FAULTS))
    add("--clients", type=int, default=32)
    add("--seconds", type=float, default=10, help="before, and again after")
    add("--pause", type=float, default=5, help="seconds that the part is away")
    add("--think", type=float, default=0.3, help="seconds between two calls")
    add(
        "--hurry",
        action="store_true",
        help="don't wait the minutes until what a dead process held or lost is done by another",
    )
    return parser


def main() -> int:
    """Try each fault that is asked for, one after another, on one installation."""
    asked = options().parse_args()
    end_on_term()
    with installed() as made:
        report = {fault: try_fault(made, fault, asked) for fault in asked.fault}
    print(json.dumps(report, indent=1))
    return int(any(told[name] for told in report.values() for name in WRONG))


if __name__ == "__main__":
    sys.exit(main())
