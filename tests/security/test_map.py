"""The tests that SECURITY.md names exist."""

import re

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "SECURITY.md").read_text()
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))


def test_every_test_in_security_md_exists():
    lines = re.findall(r"^\| (?:API)?[0-9][^|]*\|[^|]*\|(.*)\|$", DOCUMENT, re.MULTILINE)
    names = {name for line in lines for name in re.findall(r"`([^`]+)`", line)}
    assert len(names) > 60
    missing = {name for name in names if name.startswith("test_") and f"def {name}" not in TESTS}
    missing |= {n for n in names if n.startswith("tests/") and not (ROOT / n).exists()}
    assert missing == set()
