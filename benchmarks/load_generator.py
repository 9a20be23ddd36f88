"""Load for a few seconds, by wrk or by the fallback client, and what it cost the server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.fallback_client import SEPARATOR

FOLDER = Path(__file__).resolve().parent
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
TIMEOUT = "10s"


def name() -> str:
    """Return the name and version of the load generator."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return "fallback_client.py"
    completed = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False)
    return " ".join(completed.stdout.split()[:2])


def measure(
    pid: int,
    port: int,
    requests: Sequence[Sequence[bytes]],
    seconds: float,
    *,
    await_last: bool,
) -> dict[str, Any]:
    """Have one client for each sequence of requests send them over and over.

    wrk drops the requests that are under way at the end. ``await_last`` waits for them, which
    matters where they are a large part of all.
    """
    with TemporaryDirectory() as folder:
        for number, sequence in enumerate(requests):
            (Path(folder) / str(number)).write_bytes(SEPARATOR.join(sequence))
        command = _command(port, len(requests), seconds, await_last=await_last)
        before = cpu_seconds(pid)
        completed = subprocess.run(
            command,
            cwd=FOLDER.parent,
            env=os.environ | {"REQUESTS": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        spent = cpu_seconds(pid) - before
    if completed.returncode or not completed.stdout:
        raise SystemExit(f"{command[0]} failed:\n{completed.stdout}{completed.stderr}")
    figures: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    if not figures["requests"]:
        raise SystemExit(f"Port {port} did not respond to any request: {figures}")
    figures["rps"] = figures["requests"] / figures["seconds"]
    figures["cpu_us"] = spent * 1e6 / figures["requests"]
    return figures


def _command(port: int, clients: int, seconds: float, *, await_last: bool) -> list[str]:
    wrk = shutil.which("wrk")
    if wrk is None or await_last:
        return [sys.executable, "-m", "benchmarks.fallback_client", str(port), str(seconds)]
    return [
        wrk,
        *("-t", str(clients), "-c", str(clients)),
        # wrk takes whole seconds.
        *("-d", f"{max(1, round(seconds))}s", "--timeout", TIMEOUT),
        *("-s", str(FOLDER / "wrk.lua")),
        f"http://127.0.0.1:{port}/",
    ]


def process_tree(pid: int) -> list[Path]:
    """Return the entries in /proc of a process and of all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(_stat(entry)[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    tree = [pid]
    for process in tree:
        tree += children.get(process, [])
    return [Path(f"/proc/{process}") for process in tree]


def _stat(path: Path) -> list[str]:
    """Return the fields of /proc/PID/stat that follow the name, which may contain spaces."""
    return path.read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Return the user and system CPU time that a tree of processes has used."""
    ticks = 0
    for process in process_tree(pid):
        fields = _stat(process / "stat")
        ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_TICKS


def memory(pid: int) -> int:
    """Return the proportional set size of a tree of processes in bytes."""
    return 1024 * sum(
        int(line.split()[1])
        for process in process_tree(pid)
        for line in (process / "smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
