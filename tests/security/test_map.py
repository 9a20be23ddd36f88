"""SECURITY.md names a test for each line, and each is there."""

import re

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "SECURITY.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))


def test_every_test_that_security_names_exists():
    lines = re.findall(r"^\| (?:API)?[0-9][^|]*\|[^|]*\|(.*)\|$", DOCUMENT, re.MULTILINE)
    named = {name for line in lines for name in re.findall(r"`([^`]+)`", line)}
    assert len(named) > 60
    missing = {name for name in named if name.startswith("test_") and f"def {name}" not in TESTS}
    missing |= {n for n in named if n.startswith("tests/") and not (ROOT / n).exists()}
    assert missing == set()
