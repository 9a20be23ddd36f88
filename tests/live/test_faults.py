"""Each part of an installation fails in turn while 32 clients write.

FAULT_SECONDS makes each part stay down longer than by default.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from benchmarks.faults.results import FAILURES
from tests.conftest import ROOT
from tests.redis import needs_redis
from tests.security import cluster

FAULTS = ("worker", "postgresql", "redis", "celery", "broker")
PAUSE = os.environ.get("FAULT_SECONDS", "3")


def run(*options):
    command = [sys.executable, "-m", "benchmarks.faults", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@needs_redis
@pytest.mark.skipif(not os.environ.get("TEST_DATABASE_URL"), reason="about PostgreSQL")
@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="needs PostgreSQL's programs"
)
def test_no_fault_loses_or_duplicates_anything_and_all_errors_are_503():
    times = ("--seconds", "2", "--pause", PAUSE, "--delay", "1", "--hurry")
    completed = run("--clients", "32", *times)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    report = json.loads(completed.stdout)
    assert tuple(report) == FAULTS
    for fault, entry in report.items():
        assert {name: entry[name] for name in FAILURES} == dict.fromkeys(FAILURES, 0), fault
        assert entry["stored"] >= entry["outcomes"]["201"] >= 32
        assert entry["exports"] == entry["outcomes"]["202"] > 0
    assert report["postgresql"]["outcomes"]["503 with Retry-After"] > 0
    for fault in ("redis", "celery", "broker"):
        assert set(report[fault]["outcomes"]) == {"201", "202"}, report[fault]


def test_documented_commands_are_valid():
    document = (ROOT / "docs" / "deployment.md").read_text()
    commands = re.findall(r"(?m)^pipenv run python -m benchmarks\.faults (.*)$", document)
    assert len(commands) == 2
    for arguments in commands:
        completed = run(*arguments.split(), "--help")
        assert completed.returncode == 0, completed.stderr
