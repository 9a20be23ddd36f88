"""Test that the walk of docs/guide/add-a-resource.md works in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = (ROOT / "docs" / "guide" / "add-a-resource.md").read_text()
BLOCK = re.compile(r'(?ms)^```(python|diff) title="([^"]+)"\n(.*?)^```$')
COMMANDS = re.compile(r"(?ms)^```sh\n(.*?)^```$")
COPIED = ("app", "benchmarks", "deploy", "docs", "migrations", "tests")


@pytest.fixture
def project(tmp_path) -> Path:
    """Return a copy of the project."""
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", ".venv")
        )
    for file in (*ROOT.glob("*.toml"), *ROOT.glob("*.py"), *ROOT.glob("*.md"), ROOT / ".flaskenv"):
        shutil.copy(file, tmp_path)
    return tmp_path


def apply_change(file: Path, diff: str) -> None:
    """Apply a diff that has no line numbers; its context must match exactly one place."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} does not contain once:\n{before}"
    file.write_text(text.replace(before, after))


def test_walk_adds_a_working_resource(project):
    for language, name, text in BLOCK.findall(GUIDE):
        file = project / name
        if language == "diff":
            for hunk in text.split("@@\n"):
                apply_change(file, hunk)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    env = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
    env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"DATABASE_URL": f"sqlite:///{project}/walk.db", "INSTANCE_PATH": str(project)}
    for commands in COMMANDS.findall(GUIDE):
        script = commands.replace("pipenv run ", "")
        subprocess.run(["bash", "-eux"], input=script, text=True, cwd=project, env=env, check=True)


def test_walk_is_short():
    assert len(GUIDE.splitlines()) < 200
