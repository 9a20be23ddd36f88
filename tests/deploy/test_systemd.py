"""systemd units, checked by systemd-analyze."""

import os
import re
import shutil
import subprocess

import pytest

from benchmarks.server import ROOT
from tests.celery import is_celery_command

UNITS = ROOT / "deploy" / "systemd"
SERVICES = [
    "task-api-web@5001.service",
    "task-api-migrate.service",
    "task-api-worker@1.service",
    "task-api-beat.service",
]
# Of 100: without any of the hardening it is 96, and what may talk to the network is never at 0.
EXPOSURE = 15

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze") and "NO_SKIPS" not in os.environ, reason="needs systemd"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A root directory with the units and the programs that they start."""
    root = tmp_path_factory.mktemp("machine")
    shutil.copytree(UNITS, root / "etc" / "systemd" / "system")
    shutil.copytree("/usr/lib/systemd/system", root / "usr" / "lib" / "systemd" / "system",
                    ignore_dangling_symlinks=True)  # fmt: skip
    programs = root / "opt" / "task-api" / "current" / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("gunicorn", "flask", "celery"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    return root


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False
    )


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_units_are_valid(machine, name):
    verified = analyze("verify", "--man=no", f"--root={machine}", name)
    ours = [line for line in verified.stderr.splitlines() if "task-api" in line]
    assert (verified.returncode, ours) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_units_are_sandboxed(machine, name):
    judged = analyze(
        "security", "--offline=yes", f"--threshold={EXPOSURE}", f"--root={machine}", name
    )
    assert judged.returncode == 0, judged.stdout


def test_units_run_existing_commands(app):
    for unit in UNITS.glob("*.service"):
        program, *words = re.findall(r"(?m)^ExecStart=\S+/bin/(.+)$", unit.read_text())[0].split()
        if program == "flask":
            assert app.test_cli_runner().invoke(args=[*words, "--help"]).exit_code == 0
        elif program == "celery":
            assert is_celery_command(words)
        else:
            assert [program, *words[:2]] == ["gunicorn", "--config", "deploy/gunicorn.conf.py"]


def test_workers_have_unique_names_and_time_to_stop():
    unit = (UNITS / "task-api-worker@.service").read_text()
    assert " --hostname worker%i@%%h " in unit
    assert "\nKillMode=mixed\nTimeoutStopSec=90\n" in unit


def test_graceful_timeout_is_shorter_than_systemds():
    grace = re.search(
        r"(?m)^graceful_timeout = (\d+)", (ROOT / "deploy" / "gunicorn.conf.py").read_text()
    )
    patience = re.search(r"TimeoutStopSec=(\d+)\n", (UNITS / "task-api-web@.service").read_text())
    assert int(grace[1]) < int(patience[1])


def test_paths_of_units_are_documented():
    document = (ROOT / "docs" / "deployment.md").read_text()
    for place in ("/opt/task-api/current", "/etc/task-api.env", "/var/lib/task-api"):
        assert place in document
    for unit in UNITS.glob("*.service"):
        assert unit.stem.rstrip("@") in document
