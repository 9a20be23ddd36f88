"""Project structure: imports, documented settings, dependency files, tracked files."""

import ast
import json
import re
import subprocess
import tomllib

import pytest

from app import create_app
from app.config import SETTINGS
from app.extensions import db
from tests.conftest import ROOT

LAYERS = ("services.py", "services/*.py", "permissions.py", "models.py")
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
    "CONTRIBUTING.md",
    "LICENSE",
    ".gitignore",
    ".env.example",
    ".flaskenv",
    ".ci",
    ".github",
}


def imported_modules(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("layer", LAYERS)
def test_services_permissions_and_models_import_no_web_packages(layer):
    files = list((ROOT / "app").glob(f"*/{layer}"))
    assert files
    for file in files:
        packages = {name.partition(".")[0] for name in imported_modules(file.read_text())}
        web = {name for name in packages if name.startswith(("flask", "werkzeug", "webargs"))}
        assert web == set(), file


def test_imports_are_at_module_level():
    for file in (ROOT / "app").rglob("*.py"):
        tree = ast.parse(file.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        everywhere = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert len(top) == len(everywhere), file


def test_applications_in_one_process_have_separate_settings(settings, alice):
    alice.task()
    assert len(alice.get("/auth/sessions").json["data"]) == 1
    assert len(alice.get("/tasks").json["data"]) == 1
    other = create_app(settings | {"PUBLIC_URL": "https://other.example.com"})
    response = other.test_client().get("/nowhere")
    assert response.json["type"] == "https://other.example.com/problems/not_found"
    first = alice.client.get("/nowhere")
    assert first.json["type"] == "http://127.0.0.1:5000/problems/not_found"
    with other.app_context():
        db.engine.dispose()


def test_documentation_lists_every_setting_with_its_description():
    text = (ROOT / "docs/configuration.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| .+? \| (.+) \|$", text, re.MULTILINE)
    assert rows[1:] == [(setting.name, setting.description) for setting in SETTINGS]


def test_env_example_lists_every_setting():
    text = (ROOT / ".env.example").read_text()
    assert [setting.name for setting in SETTINGS if f"{setting.name}=" not in text] == []


def test_env_example_lists_only_settings():
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = {line.lstrip("# ").partition("=")[0] for line in lines if "=" in line.split(" ")[0]}
    known = {setting.name for setting in SETTINGS} | {"FLASK_CONFIG", "FLASK_DEBUG"}
    assert names - known == set()


def test_pipfile_names_no_index():
    pipfile = tomllib.loads((ROOT / "Pipfile").read_text())
    assert "source" not in pipfile
    assert {"packages", "dev-packages"} <= pipfile.keys()


def test_lock_names_no_index_and_hashes_every_package():
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    assert lock.pop("_meta")["sources"] == []
    for packages in lock.values():
        for name, package in packages.items():
            assert "index" not in package, name
            assert package["hashes"], name
            assert package["version"].startswith("=="), name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="Not a checkout of the repository.")
def test_git_tracks_only_known_top_level_paths():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {path.partition("/")[0] for path in listed.stdout.split("\0") if path}
    assert names - TRACKED == set()
    assert {"app", "migrations", "tests", "Pipfile", "Pipfile.lock"} <= names
