"""Memory of long imports and exports, through a running server; JOB_ROWS=100000 is the long run."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROWS = os.environ.get("JOB_ROWS", "20000")
# Of a process that serves requests too.
MAX_GROWTH_MIB = 60


@pytest.fixture(scope="module")
def report():
    command = [sys.executable, "-m", "benchmarks.jobs", "--rows", ROWS]
    if server := os.environ.get("TEST_DATABASE_URL"):
        command += ["--database", server]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return json.loads(completed.stdout)


@pytest.mark.parametrize("name", ["json", "csv", "icalendar"])
def test_memory_does_not_grow_with_the_file(report, name):
    assert report[name]["import_grew_mib"] < MAX_GROWTH_MIB
    assert report[name]["export_grew_mib"] < MAX_GROWTH_MIB
    assert report[name]["result_mib"] > 1
