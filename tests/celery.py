"""Celery's worker and beat, started as in production but for where their messages go."""

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
# An application for commands that are only read.
NOTHING = celery_package.Celery(set_as_current=False)
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 5672), timeout=1).close()
    except OSError:
        return False
    return True


needs_rabbitmq = pytest.mark.skipif(
    "NO_SKIPS" not in os.environ and not _answers(RABBITMQ_URL), reason="needs RabbitMQ"
)


def is_command_of_celery(words: Sequence[str]) -> bool:
    """Tell whether Celery would take these words after its name, up to starting anything."""
    line = " ".join(words)
    spoken = line.replace("wsgi:celery", f"{__name__}:NOTHING").split()
    ran = CliRunner().invoke(celery, [*spoken, "--help"], catch_exceptions=False)
    return ran.exit_code == 0 and "wsgi:celery" in line


class Celery:
    """A started worker or beat; what it says is in ``log``."""

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

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, seconds: float = 60) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + seconds
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def pool(self) -> list[int]:
        """Return the ids of the processes that do the work."""
        return children(self.process.pid)

    def kill(self) -> None:
        """End it and its pool at once, with nothing flushed."""
        for pid in [self.process.pid, *self.pool()]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> int:
        """Ask it to stop, as a service manager does, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def running(celery: Celery) -> Iterator[Celery]:
    """Run until the end of the block."""
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
    """Run a worker of so many processes."""
    # Two of one name would take each other's questions.
    name = f"--hostname={uuid4().hex}@%h"
    command = ("--app", application, "worker", name, f"--concurrency={size}", *QUIET)
    with running(Celery(folder, environ, *command)) as started:
        started.wait_for(" ready.")
        yield started


@contextmanager
def beat(
    folder: Path, environ: Mapping[str, str], application: str = "wsgi:celery"
) -> Iterator[Celery]:
    """Run what tells workers when."""
    with running(Celery(folder, environ, "--app", application, "beat")) as started:
        yield started
