"""The script that imports damaged files."""

import subprocess
import sys

from app.jobs.formats import READERS
from benchmarks.fuzz_imports import FILES
from tests.conftest import ROOT


def test_damaged_files_of_every_format_have_an_outcome():
    command = [sys.executable, "-m", "benchmarks.fuzz_imports", "--files", "10"]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert [line.partition(":")[0] for line in completed.stdout.splitlines()] == [*READERS, "all"]
    assert FILES.keys() == READERS.keys()
