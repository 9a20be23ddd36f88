"""Tests that run every example of the README and the guides against a live server.

``UPDATE_DOCS=1 pytest tests/live/test_documents.py`` writes the current
output into the documents and into docs/walk.txt.
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
# Its examples run in a copy of the project: see test_add_a_resource.py.
GUIDES.remove(ROOT / "docs" / "guide" / "add-a-resource.md")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
TRANSCRIPT = ROOT / "docs" / "walk.txt"
DOCUMENTED_URL = "http://127.0.0.1:5000"
CONSOLE_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
LINK = re.compile(r"(?<!`)\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)")
PYTHON_BLOCK = re.compile(r"(?<=```python\n).*?(?=```)", re.DOTALL)
SEPARATOR = "--- end of output ---"

needs_curl = pytest.mark.skipif(
    not shutil.which("curl") and "NO_SKIPS" not in os.environ, reason="the examples need curl"
)


def parse_commands(block: str) -> list[str]:
    """Return the commands of a console block; a trailing backslash continues a command."""
    joined = block.replace("\\\n", "\\\0")
    lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
    return [line.replace("\0", "\n") for line in lines]


def run_commands(commands: list[str], server: Server) -> list[str]:
    """Run the commands in one shell with the server's environment and return each one's output."""
    server_url = f"http://127.0.0.1:{server.port}"
    script = "\n".join(f"{command}\necho; echo '{SEPARATOR}'" for command in commands)
    completed = subprocess.run(
        ["bash", "-eu"],
        input=script.replace(DOCUMENTED_URL, server_url),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=server.environ,
    )
    assert not completed.stderr
    outputs = [output.strip("\r\n") for output in completed.stdout.split(SEPARATOR)[:-1]]
    return [normalize(output.replace(server_url, DOCUMENTED_URL)) for output in outputs]


def normalize(text: str) -> str:
    """Replace values that differ between runs with fixed samples."""
    text = text.replace("\r", "")
    text = re.sub(r"tap_[\w-]{43}", "tap_9tKx0vYb...", text)
    text = re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "eyJhbGciOiJIUzI1NiJ9...", text)
    text = re.sub(r'((?:next_cursor":"|cursor=))[\w.-]+', r"\g<1>WyI1ZjBj...", text)
    text = re.sub(r"(request_id\":\"|X-Request-ID: )[0-9a-f]{32}", r"\g<1>5f0c...", text)
    text = re.sub(r'("id":")[0-9a-f]{32}', r"\g<1>5f0c...", text)
    text = re.sub(r"curl/[\d.]+", "curl/8", text)
    text = re.sub(r"(?m)^(Date|Server|Connection): .*\n", "", text)
    return re.sub(r'(_at":")[^"]+Z"', r'\g<1>2026-11-21T09:00:00.000000Z"', text)


def format_command(command: str, output: str) -> str:
    return f"$ {command}\n" + (f"{output}\n" if output else "")


def rerun(document: Path) -> list[str]:
    """Run a document's examples and return its console blocks with their current output."""
    text = document.read_text()
    blocks = [parse_commands(block) for block in CONSOLE_BLOCK.findall(text)]
    with started(None, RATELIMIT_ENABLED="1") as server:
        outputs = iter(run_commands([command for block in blocks for command in block], server))
        script = "\n".join(PYTHON_BLOCK.findall(text))
        script = script.replace(DOCUMENTED_URL, f"http://127.0.0.1:{server.port}")
        subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning", "-c", script], check=True, cwd=ROOT
        )
    current = [
        "".join(format_command(command, next(outputs)) for command in block) for block in blocks
    ]
    if os.environ.get("UPDATE_DOCS"):
        replacements = iter(current)
        document.write_text(CONSOLE_BLOCK.sub(lambda _: next(replacements), text))
    return current


@needs_curl
def test_readme_examples_print_what_the_readme_shows():
    current = rerun(README)
    transcript = "\n".join(current)
    if os.environ.get("UPDATE_DOCS"):
        TRANSCRIPT.write_text(transcript)
    assert CONSOLE_BLOCK.findall(README.read_text()) == current
    assert TRANSCRIPT.read_text() == transcript
    assert '"status":"completed"' in transcript
    assert '"pointer":"/colour"' in transcript


@needs_curl
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_guide_examples_print_what_the_guide_shows(guide):
    assert CONSOLE_BLOCK.findall(guide.read_text()) == rerun(guide)


def test_every_guide_is_listed():
    listed = re.findall(r"\(guide/([\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    assert sorted(listed) == sorted(guide.name for guide in (ROOT / "docs" / "guide").iterdir())


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub derives them."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-").lower() for heading in headings}


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT))
)
def test_relative_links_lead_somewhere(document):
    for path, anchor in LINK.findall(document.read_text()):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        if anchor:
            assert anchor in anchors_of(target), f"{path}#{anchor}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_named_files_exist(name):
    paths = re.findall(r"`((?:\.ci|\.github|app|docs|tests)/[\w./-]+)`", (ROOT / name).read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []
