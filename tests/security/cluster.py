"""A PostgreSQL server for tests that stop, freeze and restart it."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.ports import free_port
from benchmarks.server import children

OWNER = "postgres"


def binaries() -> Path | None:
    """Return the directory of the newest installed PostgreSQL, if there is one."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Cluster:
    """A server with its own data directory."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.port = free_port()
        self.url = f"postgresql://{OWNER}@127.0.0.1:{self.port}/{OWNER}"
        # PostgreSQL refuses to run as root.
        self.user = OWNER if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, OWNER)
        command = [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", OWNER]
        subprocess.run([*command, "--no-sync"], user=self.user, cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "logging_collector": "off",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [self.programs / "postgres", "-D", self.folder / "data", *arguments],
            user=self.user,
            cwd=self.folder,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop at once, or with SIGINT after closing connections."""
        self.process.send_signal(how)
        self.process.wait(timeout=60)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend every process: connections are accepted, but nothing responds."""
        processes = [self.process.pid, *children(self.process.pid)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a server in a temporary directory."""
    programs = binaries()
    assert programs, "PostgreSQL is not installed."
    folder = Path(tempfile.mkdtemp(prefix="task-api-cluster-"))
    server = Cluster(programs, folder)
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
        shutil.rmtree(folder)
