"""The units, as systemd itself reads them."""

import os
import re
import shutil
import subprocess

import pytest

from benchmarks.server import ROOT
from tests.celery import is_command_of_celery

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
    """A machine's root with our units in it, and something to start."""
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
def test_systemd_finds_nothing_to_complain_of(machine, name):
    verified = analyze("verify", "--man=no", f"--root={machine}", name)
    ours = [line for line in verified.stderr.splitlines() if "task-api" in line]
    assert (verified.returncode, ours) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_may_do_little_but_what_it_is_for(machine, name):
    judged = analyze(
        "security", "--offline=yes", f"--threshold={EXPOSURE}", f"--root={machine}", name
    )
    assert judged.returncode == 0, judged.stdout


def test_every_unit_runs_the_server_or_a_command_of_ours(app):
    for unit in UNITS.glob("*.service"):
        program, *words = re.findall(r"(?m)^ExecStart=\S+/bin/(.+)$", unit.read_text())[0].split()
        if program == "flask":
            assert app.test_cli_runner().invoke(args=[*words, "--help"]).exit_code == 0
        elif program == "celery":
            assert is_command_of_celery(words)
        else:
            assert [program, *words[:2]] == ["gunicorn", "--config", "deploy/gunicorn.conf.py"]


def test_workers_of_one_machine_have_names_of_their_own_and_time_to_end_what_they_are_at():
    unit = (UNITS / "task-api-worker@.service").read_text()
    assert " --hostname worker%i@%%h " in unit
    assert "\nKillMode=mixed\nTimeoutStopSec=90\n" in unit


def test_gunicorn_s_grace_ends_before_systemd_s_patience():
    grace = re.search(
        r"(?m)^graceful_timeout = (\d+)", (ROOT / "deploy" / "gunicorn.conf.py").read_text()
    )
    patience = re.search(r"TimeoutStopSec=(\d+)\n", (UNITS / "task-api-web@.service").read_text())
    assert int(grace[1]) < int(patience[1])


def test_what_the_units_run_is_where_the_document_puts_it():
    document = (ROOT / "docs" / "deployment.md").read_text()
    for place in ("/opt/task-api/current", "/etc/task-api.env", "/var/lib/task-api"):
        assert place in document
    for unit in UNITS.glob("*.service"):
        assert unit.stem.rstrip("@") in document
