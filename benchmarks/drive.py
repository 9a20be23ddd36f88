"""Drive a server for some seconds, by wrk or by our own clients, and tell what it cost."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clients import SEPARATOR

BENCHMARKS = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = "10s"
Figures = dict[str, Any]


def in_turn(all_of_them: Sequence[Any], number: int) -> list[Any]:
    """Return them in the order of a round: another one is first in each."""
    first = number % len(all_of_them)
    return [*all_of_them[first:], *all_of_them[:first]]


def generator() -> str:
    """Return what sends the requests, as reports name it."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return "clients.py"
    told = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(told.split()[:2])


def measured(
    pid: int, port: int, requests: Sequence[Sequence[bytes]], seconds: float, *, patiently: bool
) -> Figures:
    """Have a client for each list of requests send them for some seconds.

    wrk leaves at the end what is not answered yet; ``patiently`` is for operations of which that
    would be much of what was done, and waits for it.
    """
    with TemporaryDirectory() as folder:
        for number, own in enumerate(requests):
            (Path(folder) / str(number)).write_bytes(SEPARATOR.join(own))
        command = _command(port, len(requests), seconds, patiently=patiently)
        before = cpu_seconds(pid)
        ran = subprocess.run(
            command,
            env=os.environ | {"REQUESTS": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        spent = cpu_seconds(pid) - before
    if ran.returncode or not ran.stdout:
        raise SystemExit(f"{command[0]} failed:\n{ran.stdout}{ran.stderr}")
    figures: Figures = json.loads(ran.stdout.splitlines()[-1])
    if not figures["requests"]:
        raise SystemExit(f"Nothing was answered on port {port}: {figures}")
    figures["rps"] = figures["requests"] / figures["seconds"]
    figures["cpu_us"] = spent * 1e6 / figures["requests"]
    return figures


def _command(port: int, clients: int, seconds: float, *, patiently: bool) -> list[str]:
    wrk = shutil.which("wrk")
    if wrk is None or patiently:
        return [sys.executable, str(BENCHMARKS / "clients.py"), str(port), str(seconds)]
    # wrk takes whole seconds.
    times = ["-d", f"{max(1, round(seconds))}s", "--timeout", PATIENCE]
    threads = ["-t", str(clients), "-c", str(clients)]
    return [
        wrk,
        *threads,
        *times,
        "-s",
        str(BENCHMARKS / "clients.lua"),
        f"http://127.0.0.1:{port}/",
    ]


def processes(pid: int) -> list[Path]:
    """Return the entries in /proc of a process and of all that it started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _fields(entry)
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return [Path(f"/proc/{one}") for one in found]


def _fields(entry: Path) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: the name may have spaces."""
    return entry.read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Return the processor time, of users' and the system's, that a tree of processes has had."""
    total = 0
    for process in processes(pid):
        fields = _fields(process / "stat")
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid: int) -> int:
    """Return the bytes that a tree of processes has to itself, with its part of what is shared."""
    return 1024 * sum(
        int(line.split()[1])
        for process in processes(pid)
        for line in (process / "smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
