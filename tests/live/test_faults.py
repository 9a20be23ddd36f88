"""What the installation rests on fails while 32 clients write, each part in its turn.

FAULT_SECONDS makes each part stay away longer than by default.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.redis import needs_redis
from tests.security import cluster

FAULTS = ("worker", "postgresql", "redis", "celery", "broker")
NONE_OF = (
    "wrongly answered", "never answered again", "lost", "doubled", "unasked", "mails lost",
    "mails doubled", "exports lost or torn", "exports doubled", "done twice",
)  # fmt: skip
PAUSE = os.environ.get("FAULT_SECONDS", "3")


def run(*options):
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "faults.py", *options],
        capture_output=True,
        text=True,
        check=False,
    )


@needs_redis
@pytest.mark.skipif(not os.environ.get("TEST_DATABASE_URL"), reason="about PostgreSQL")
@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="needs PostgreSQL's programs"
)
def test_whatever_fails_nothing_answered_is_lost_or_doubled_and_errors_are_503():
    times = ("--seconds", "2", "--pause", PAUSE, "--think", "1", "--hurry")
    ran = run("--clients", "32", *times)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads(ran.stdout)
    assert tuple(report) == FAULTS
    for fault, told in report.items():
        assert {name: told[name] for name in NONE_OF} == dict.fromkeys(NONE_OF, 0), (fault, told)
        assert told["stored"] >= told["answers"]["201"] >= 32
        assert told["exports"] == told["answers"]["202"] > 0
    assert report["postgresql"]["answers"]["503 with Retry-After"] > 0
    for fault in ("redis", "celery", "broker"):
        assert set(report[fault]["answers"]) == {"201", "202"}, report[fault]


def test_the_commands_of_the_document_are_understood():
    document = (ROOT / "docs" / "deployment.md").read_text()
    commands = re.findall(r"(?m)^pipenv run python benchmarks/faults\.py (.*)$", document)
    assert len(commands) == 2
    for words in commands:
        ran = run(*words.split(), "--help")
        assert ran.returncode == 0, ran.stderr
