"""The virtual environment of the peers and the plots: made once for each state of the lock."""

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
# The first is pipenv's name for the packages that are locked as "default".
CATEGORIES = ("packages", "benchmarks")


def python() -> Path:
    """Return the environment's interpreter; the environment is made where it is not there yet."""
    folder = FOLDER / _key()
    made = folder / "complete"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            print("Installing the peers' packages...", file=sys.stderr)
            _remove_others()
            venv.create(folder, with_pip=True, clear=True)
            _install(folder)
            made.touch()
    return folder / "bin" / "python"


def _key() -> str:
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    locked = json.dumps([lock["default"], lock["benchmarks"], sys.version])
    return hashlib.sha256(locked.encode()).hexdigest()[:16]


def _remove_others() -> None:
    for old in FOLDER.iterdir():
        if old.is_dir():
            shutil.rmtree(old)


def _install(folder: Path) -> None:
    pipenv = shutil.which("pipenv")
    if pipenv is None:
        raise RuntimeError("pipenv, which installs the peers' packages, is not there.")
    # Within "pipenv run", PIPENV_ACTIVE has it pass by VIRTUAL_ENV.
    environ = {name: value for name, value in os.environ.items() if name != "PIPENV_ACTIVE"}
    environ |= {"VIRTUAL_ENV": str(folder), "PIPENV_VERBOSITY": "-1"}
    ran = subprocess.run(
        [pipenv, "sync", "--categories", " ".join(CATEGORIES)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"pipenv sync failed:\n{ran.stdout}{ran.stderr}")


if __name__ == "__main__":
    print(python())
