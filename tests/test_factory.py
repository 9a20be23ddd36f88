"""The shape of the house: what may import what, what is set where, what is kept in git."""

import ast
import json
import subprocess
import tomllib

import pytest

from app import create_app
from app.config import SETTINGS
from app.extensions import db
from tests.conftest import ROOT

LAYERS = ("services.py", "policy.py", "models.py")
TRACKED = {
    "app",
    "migrations",
    "tests",
    "docs",
    "deploy",
    "benchmarks",
    "Pipfile",
    "Pipfile.lock",
    "pyproject.toml",
    "run.py",
    "wsgi.py",
    "README.md",
    "LICENSE",
    ".gitignore",
    ".env.example",
    ".flaskenv",
    ".ci",
}


def imported(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("layer", LAYERS)
def test_rules_and_tables_know_nothing_of_the_web(layer):
    files = list((ROOT / "app").glob(f"*/{layer}"))
    assert files
    for file in files:
        packages = {name.partition(".")[0] for name in imported(file.read_text())}
        web = {name for name in packages if name.startswith(("flask", "werkzeug", "webargs"))}
        assert web == set(), file


def test_modules_import_at_their_top_only():
    for file in (ROOT / "app").rglob("*.py"):
        tree = ast.parse(file.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        everywhere = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert len(top) == len(everywhere), file


def test_applications_in_one_process_do_not_share_settings(settings, alice):
    alice.task()
    assert len(alice.get("/auth/sessions").json["data"]) == 1
    assert len(alice.get("/tasks").json["data"]) == 1
    other = create_app(settings | {"PUBLIC_URL": "https://other.example.com"})
    answer = other.test_client().get("/nowhere")
    assert answer.json["type"] == "https://other.example.com/problems/not_found"
    theirs = alice.client.get("/nowhere").json["type"]
    assert theirs == "http://127.0.0.1:5000/problems/not_found"
    with other.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("file", [".env.example", "docs/configuration.md"])
def test_every_setting_is_told_of(file):
    text = (ROOT / file).read_text()
    assert [setting.name for setting in SETTINGS if setting.name not in text] == []


def test_the_example_sets_nothing_that_is_not_a_setting():
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = {line.lstrip("# ").partition("=")[0] for line in lines if "=" in line.split(" ")[0]}
    known = {setting.name for setting in SETTINGS} | {"FLASK_CONFIG", "FLASK_DEBUG"}
    assert names - known == set()


def test_the_pipfile_names_no_index():
    pipfile = tomllib.loads((ROOT / "Pipfile").read_text())
    assert "source" not in pipfile
    assert {"packages", "dev-packages"} <= pipfile.keys()


def test_the_lock_names_no_index_and_hashes_every_package():
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    assert lock.pop("_meta")["sources"] == []
    for packages in lock.values():
        for name, package in packages.items():
            assert "index" not in package, name
            assert package["hashes"], name
            assert package["version"].startswith("=="), name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="Not a checkout of the repository.")
def test_git_keeps_only_what_belongs_here():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tops = {path.partition("/")[0] for path in listed.stdout.split("\0") if path}
    assert tops - TRACKED == set()
    assert {"app", "migrations", "tests", "Pipfile", "Pipfile.lock"} <= tops
