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
# Maximum exposure, of 100. Without hardening it is 96; a service with network access is never at 0.
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
    report = analyze(
        "security", "--offline=yes", f"--threshold={EXPOSURE}", f"--root={machine}", name
    )
    assert report.returncode == 0, report.stdout


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


def test_graceful_timeout_is_shorter_than_systemd_timeout():
    grace = re.search(
        r"(?m)^graceful_timeout = (\d+)", (ROOT / "deploy" / "gunicorn.conf.py").read_text()
    )
    stop_timeout = re.search(
        r"TimeoutStopSec=(\d+)\n", (UNITS / "task-api-web@.service").read_text()
    )
    assert int(grace[1]) < int(stop_timeout[1])


def test_paths_of_units_are_documented():
    document = (ROOT / "docs" / "deployment.md").read_text()
    for path in ("/opt/task-api/current", "/etc/task-api.env", "/var/lib/task-api"):
        assert path in document
    for unit in UNITS.glob("*.service"):
        assert unit.stem.rstrip("@") in document
