"""A PostgreSQL server of the tests' own, which may be stopped, frozen and brought back."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.server import children

OWNER = "postgres"


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed, if any is."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Cluster:
    """Its processes are ours alone, so they may be stopped by their ids."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"postgresql://{OWNER}@127.0.0.1:{self.port}/{OWNER}"
        # PostgreSQL refuses to be run by root.
        self.user = OWNER if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, OWNER)
        command = [programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", OWNER]
        subprocess.run([*command, "--no-sync"], user=self.user, cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    def start(self) -> None:
        """Start and wait until it takes connections."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "logging_collector": "off",
        }
        told = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [self.programs / "postgres", "-D", self.folder / "data", *told],
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
        """Shut it down at once, or by SIGINT in good order; it may be brought back."""
        self.process.send_signal(how)
        self.process.wait(timeout=60)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have every process of it hold still: connections are taken, and nothing is answered."""
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
    """Run a server in a folder that is gone afterwards."""
    programs = binaries()
    assert programs, "PostgreSQL's programs are not installed."
    folder = Path(tempfile.mkdtemp(prefix="task-api-cluster-"))
    made = Cluster(programs, folder)
    made.start()
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.stop()
        shutil.rmtree(folder)
