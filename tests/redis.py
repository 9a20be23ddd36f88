"""A Redis server of the tests' own, which may be stopped, frozen and brought back."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

needs_redis = pytest.mark.skipif(
    not shutil.which("redis-server") and "NO_SKIPS" not in os.environ, reason="needs redis-server"
)


class Redis:
    """It keeps nothing on disk: brought back, it has forgotten everything."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it takes connections."""
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
        """End it at once."""
        self.process.kill()
        self.process.wait(timeout=30)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it hold still: connections are taken, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis() -> Iterator[Redis]:
    """Run a server until the end of the block."""
    server = Redis()
    server.start()
    try:
        yield server
    finally:
        server.stop()
