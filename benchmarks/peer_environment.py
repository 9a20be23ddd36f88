"""The virtual environment of the peers and the plots, created once for each state of the lock."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / ".venv"
# "packages" is pipenv's name for the category that the lock calls "default".
CATEGORIES = ("packages", "benchmarks")


def python() -> Path:
    """Return the environment's interpreter, and create the environment if it is missing."""
    folder = FOLDER / _key()
    complete = folder / "complete"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            print("Installing the packages of the peers...", file=sys.stderr)
            _remove_outdated()
            venv.create(folder, with_pip=True, clear=True)
            _install(folder)
            complete.touch()
    return folder / "bin" / "python"


def _key() -> str:
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    content = json.dumps([lock["default"], lock["benchmarks"], sys.version])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _remove_outdated() -> None:
    for old in FOLDER.iterdir():
        if old.is_dir():
            shutil.rmtree(old)


def _install(folder: Path) -> None:
    pipenv = shutil.which("pipenv")
    if pipenv is None:
        raise RuntimeError("pipenv is needed to install the packages of the peers.")
    # With PIPENV_ACTIVE, which "pipenv run" sets, pipenv ignores VIRTUAL_ENV.
    environ = {name: value for name, value in os.environ.items() if name != "PIPENV_ACTIVE"}
    environ |= {"VIRTUAL_ENV": str(folder), "PIPENV_VERBOSITY": "-1"}
    completed = subprocess.run(
        [pipenv, "sync", "--categories", " ".join(CATEGORIES)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise RuntimeError(f"pipenv sync failed:\n{completed.stdout}{completed.stderr}")


if __name__ == "__main__":
    print(python())
