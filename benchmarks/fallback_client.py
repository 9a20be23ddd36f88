"""Load generator in Python, for slow operations and for machines without wrk.

    REQUESTS=FOLDER python -m benchmarks.fallback_client PORT SECONDS

FOLDER has a file of requests for each client. Every client waits for its last response.
"""

import json
import os
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from itertools import cycle
from pathlib import Path

SEPARATOR = b"\x1e"
TIMEOUT_SECONDS = 60
ERRORS = ("status", "timeout", "socket")


def send_all(port: int, path: Path, until: float) -> tuple[list[float], Counter[str]]:
    """Send one request after another; return the latencies in seconds, and the errors."""
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    connection = None
    for request in cycle(path.read_bytes().split(SEPARATOR)):
        if time.monotonic() >= until:
            break
        start = time.perf_counter()
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            response.read()
        except (OSError, HTTPException) as error:
            errors["timeout" if isinstance(error, TimeoutError) else "socket"] += 1
            if connection is not None:
                connection.close()
            connection = None
            continue
        latencies.append(time.perf_counter() - start)
        errors["status"] += response.status >= 400
        if response.will_close:
            connection.close()
            connection = None
    return latencies, errors


def main() -> None:
    """Run the clients and print the figures as JSON, in the form that wrk.lua has."""
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    paths = sorted(Path(os.environ["REQUESTS"]).iterdir())
    start = time.monotonic()
    with ThreadPoolExecutor(len(paths)) as pool:
        results = list(pool.map(lambda path: send_all(port, path, start + seconds), paths))
    elapsed = time.monotonic() - start
    requests = sum(len(latencies) for latencies, _ in results)
    ordered = sorted(latency for latencies, _ in results for latency in latencies) or [0.0]
    errors = sum((errors for _, errors in results), Counter[str]())
    figures = {
        "requests": requests,
        "seconds": elapsed,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
        "errors": {name: errors[name] for name in ERRORS},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
