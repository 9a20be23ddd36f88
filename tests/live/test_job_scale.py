"""Long imports and exports take little memory, through a started server.

JOB_ROWS=100000 is the long run.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROWS = os.environ.get("JOB_ROWS", "20000")
# In MiB, of a process that answers requests too.
MOST_GROWN = 60


@pytest.fixture(scope="module")
def measured():
    command = [sys.executable, ROOT / "benchmarks" / "jobs.py", "--rows", ROWS]
    if server := os.environ.get("TEST_DATABASE_URL"):
        command += ["--database", server]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("name", ["json", "csv", "icalendar"])
def test_memory_does_not_grow_with_the_file(measured, name):
    assert measured[name]["import_grew_mib"] < MOST_GROWN
    assert measured[name]["export_grew_mib"] < MOST_GROWN
    assert measured[name]["result_mib"] > 1
