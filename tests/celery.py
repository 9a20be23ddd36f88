"""Celery workers and beat in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import celery as celery_package
import pytest
from celery.bin.celery import celery
from click.testing import CliRunner

from benchmarks.server import ROOT, children

RABBITMQ_URL = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
# An application for parsing commands without running them.
NOTHING = celery_package.Celery(set_as_current=False)
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def _is_reachable(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 5672), timeout=1).close()
    except OSError:
        return False
    return True


needs_rabbitmq = pytest.mark.skipif(
    "NO_SKIPS" not in os.environ and not _is_reachable(RABBITMQ_URL), reason="needs RabbitMQ"
)


def is_celery_command(words: Sequence[str]) -> bool:
    """Return whether Celery's command line accepts these arguments."""
    line = " ".join(words)
    arguments = line.replace("wsgi:celery", f"{__name__}:NOTHING").split()
    result = CliRunner().invoke(celery, [*arguments, "--help"], catch_exceptions=False)
    return result.exit_code == 0 and "wsgi:celery" in line


class Celery:
    """A worker or beat process; its output goes to ``log``."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *command: str) -> None:
        self.log = folder / f"{uuid4().hex}.log"
        self.folder, self.command = folder, command
        self.environ = os.environ | environ

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--quiet", *self.command],
                cwd=ROOT,
                env=self.environ,
                stdout=log,
                stderr=log,
            )

    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, seconds: float = 60) -> None:
        """Wait until the output contains ``words``."""
        deadline = time.monotonic() + seconds
        while words not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def pool(self) -> list[int]:
        """Return the ids of the pool processes."""
        return children(self.process.pid)

    def kill(self) -> None:
        """Kill the process and its pool."""
        for pid in [self.process.pid, *self.pool()]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def running(celery: Celery) -> Iterator[Celery]:
    """Run a worker or beat."""
    celery.start()
    try:
        yield celery
    finally:
        if celery.process.poll() is None:
            celery.kill()


@contextmanager
def worker(
    folder: Path, environ: Mapping[str, str], application: str = "wsgi:celery", size: int = 1
) -> Iterator[Celery]:
    """Run a worker with a pool of ``size`` processes."""
    # Workers with the same name would receive each other's remote control commands.
    name = f"--hostname={uuid4().hex}@%h"
    command = ("--app", application, "worker", name, f"--concurrency={size}", *QUIET)
    with running(Celery(folder, environ, *command)) as started:
        started.wait_for(" ready.")
        yield started


@contextmanager
def beat(
    folder: Path, environ: Mapping[str, str], application: str = "wsgi:celery"
) -> Iterator[Celery]:
    """Run the beat scheduler."""
    with running(Celery(folder, environ, "--app", application, "beat")) as started:
        yield started
