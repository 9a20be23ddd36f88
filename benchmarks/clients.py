"""Keep-alive clients, where there is no wrk or where answers take long: clients.py PORT SECONDS.

REQUESTS names the folder of their requests, a file for each client. All finish what they began.
"""

import json
import os
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from itertools import cycle
from pathlib import Path

SEPARATOR = b"\x1e"
PATIENCE = 60


def use(port: int, path: Path, until: float) -> tuple[list[float], Counter[str]]:
    """Send one request after another; return the seconds that answers took, and the errors."""
    times: list[float] = []
    errors: Counter[str] = Counter(status=0, timeout=0, socket=0)
    connection = None
    for raw in cycle(path.read_bytes().split(SEPARATOR)):
        if time.monotonic() >= until:
            break
        start = time.perf_counter()
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            connection.sendall(raw)
            response = HTTPResponse(connection)
            response.begin()
            response.read()
        except (OSError, HTTPException) as error:
            errors["timeout" if isinstance(error, TimeoutError) else "socket"] += 1
            with suppress(AttributeError):
                connection.close()
            connection = None
            continue
        times.append(time.perf_counter() - start)
        errors["status"] += response.status >= 400
        if response.will_close:
            connection.close()
            connection = None
    return times, errors


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    paths = sorted(Path(os.environ["REQUESTS"]).iterdir())
    start = time.monotonic()
    with ThreadPoolExecutor(len(paths)) as pool:
        told = list(pool.map(lambda path: use(port, path, start + seconds), paths))
    taken = time.monotonic() - start
    times = sorted(one for some, _ in told for one in some) or [0.0]
    report = {
        "requests": sum(len(some) for some, _ in told),
        "seconds": taken,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "errors": {
            kind: sum(errors[kind] for _, errors in told)
            for kind in ("status", "timeout", "socket")
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
