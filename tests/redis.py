"""A Redis server that tests can stop, freeze and restart."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.ports import free_port

needs_redis = pytest.mark.skipif(
    not shutil.which("redis-server") and "NO_SKIPS" not in os.environ, reason="needs redis-server"
)


class Redis:
    """A server without persistence: a restart deletes all data."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait(timeout=30)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend the server: it accepts connections and never responds."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis() -> Iterator[Redis]:
    """Run a server."""
    server = Redis()
    server.start()
    try:
        yield server
    finally:
        server.stop()
