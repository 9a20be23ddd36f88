"""The script that counts the functions and files that a request runs through."""

import re
import subprocess
import sys

from tests.conftest import ROOT


def test_call_path_prints_functions_and_files_of_each_operation():
    command = [sys.executable, "-m", "benchmarks.call_path", "--list"]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = re.findall(r"(?m)^\| (\w+ .+) \| (\d+) \| (\d+) \|$", completed.stdout)
    assert [name for name, *_ in rows] == [
        "GET a task", "GET the list", "PATCH a task", "POST a task",
    ]  # fmt: skip
    listings = re.split(r"(?m)^\n(?=\w)", completed.stdout)[1:]
    for (name, functions, files), listing in zip(rows, listings, strict=True):
        lines = listing.splitlines()
        assert lines[0] == name
        assert int(files) == sum(line.startswith("  app/") for line in lines)
        assert int(functions) == len(lines) - 1 - int(files)
