"""What the README and the guides show, run as it stands against the started server.

``UPDATE_DOCS=1 pytest tests/live/test_documents.py`` writes the answers
into them, and into docs/walk.txt.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server import Server, started

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))
TRANSCRIPT = ROOT / "docs" / "walk.txt"
ADDRESS = "http://127.0.0.1:5000"
CONSOLE = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
PYTHON = re.compile(r"(?<=```python\n).*?(?=```)", re.DOTALL)
MARK = "--- end of answer ---"

needs_curl = pytest.mark.skipif(
    not shutil.which("curl") and "NO_SKIPS" not in os.environ, reason="the examples need curl"
)


def commands(block: str) -> list[str]:
    """Return the commands of a block; a backslash at the end of a line carries on."""
    joined = block.replace("\\\n", "\\\0")
    lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
    return [line.replace("\0", "\n") for line in lines]


def run(lines: list[str], server: Server) -> list[str]:
    """Run the commands in one shell, with the server's settings, and return what each printed."""
    address = f"http://127.0.0.1:{server.port}"
    script = "\n".join(f"{line}\necho; echo '{MARK}'" for line in lines)
    script = script.replace(ADDRESS, address)
    ran = subprocess.run(
        ["bash", "-eu"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=server.environ,
    )
    assert not ran.stderr
    answers = [answer.strip("\r\n") for answer in ran.stdout.split(MARK)[:-1]]
    return [steady(answer.replace(address, ADDRESS)) for answer in answers]


def steady(text: str) -> str:
    """Replace what differs from run to run by something that looks like it."""
    text = text.replace("\r", "")
    text = re.sub(r"tap_[\w-]{43}", "tap_9tKx0vYb...", text)
    text = re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "eyJhbGciOiJIUzI1NiJ9...", text)
    text = re.sub(r'((?:next_cursor":"|cursor=))[\w.-]+', r"\g<1>WyI1ZjBj...", text)
    text = re.sub(r"(request_id\":\"|X-Request-ID: )[0-9a-f]{32}", r"\g<1>5f0c...", text)
    text = re.sub(r'("id":")[0-9a-f]{32}', r"\g<1>5f0c...", text)
    text = re.sub(r"curl/[\d.]+", "curl/8", text)
    text = re.sub(r"(?m)^(Date|Server|Connection): .*\n", "", text)
    return re.sub(r'(_at":")[^"]+Z"', r'\g<1>2026-11-21T09:00:00.000000Z"', text)


def written(line: str, answer: str) -> str:
    return f"$ {line}\n" + (f"{answer}\n" if answer else "")


def rerun(document: Path) -> list[str]:
    """Run a document's examples and return its console blocks as they are now."""
    text = document.read_text()
    blocks = CONSOLE.findall(text)
    with started(None, RATELIMIT_ENABLED="1") as server:
        address = f"http://127.0.0.1:{server.port}"
        answers = iter(run([line for block in blocks for line in commands(block)], server))
        script = "\n".join(PYTHON.findall(text)).replace(ADDRESS, address)
        subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning", "-c", script], check=True, cwd=ROOT
        )
    renewed = [
        "".join(written(line, next(answers)) for line in commands(block)) for block in blocks
    ]
    if os.environ.get("UPDATE_DOCS"):
        fresh = iter(renewed)
        document.write_text(CONSOLE.sub(lambda _: next(fresh), text))
    return renewed


@needs_curl
def test_every_line_of_the_readme_answers_as_the_readme_says():
    renewed = rerun(README)
    transcript = "\n".join(renewed)
    if os.environ.get("UPDATE_DOCS"):
        TRANSCRIPT.write_text(transcript)
    assert CONSOLE.findall(README.read_text()) == renewed
    assert TRANSCRIPT.read_text() == transcript
    assert '"status":"completed"' in transcript
    assert '"pointer":"/colour"' in transcript


@needs_curl
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_example_of_a_guide_does_what_the_guide_says(guide):
    assert CONSOLE.findall(guide.read_text()) == rerun(guide)


def test_the_guides_are_those_that_are_listed():
    listed = re.findall(r"\(guide/([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    assert sorted(listed) == [guide.name for guide in GUIDES]
