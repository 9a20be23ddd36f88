"""Number of functions and files of ``app/`` that one request runs through.

    pipenv run python -m benchmarks.call_path
    pipenv run python -m benchmarks.call_path --list

Each request is sent by Flask's test client, on SQLite, with development settings and rate limits
off, after a few of the same kind have filled the caches. Each function is counted once, however
often it is called; comprehensions, class bodies and modules are not counted.
"""

import argparse
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade

from app import create_app
from benchmarks import report

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"
API = "/api/v1"
WARM_UPS = 3
USER = {"username": "bench", "password": "correct horse battery"}
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}

Send = Callable[[int], Any]


def count(client: FlaskClient) -> Mapping[str, set[CodeType]]:
    """Return the functions that each operation runs."""
    email = f"{USER['username']}@example.com"
    client.post(f"{API}/auth/register", json={**USER, "email": email})
    token = client.post(f"{API}/auth/login", json=USER).get_json()["access_token"]

    def send(method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        # "buffered" ends the request as a server does: hooks that run on close are counted.
        response = client.open(
            f"{API}{path}", method=method, json=body, headers=headers, buffered=True
        )
        if response.status_code >= 400:
            raise SystemExit(f"{method} {path}: {response.status} {response.text}")
        return response.json

    tasks = [send("POST", "/tasks", {"title": f"Task {number}"})["id"] for number in range(10)]
    task = f"/tasks/{tasks[0]}"
    operations: Mapping[str, Send] = {
        "GET a task": lambda _: send("GET", task),
        "GET the list": lambda turn: send("GET", f"/tasks?limit={50 - turn}"),
        "PATCH a task": lambda turn: send("PATCH", task, {"title": f"Changed {turn}"}),
        "POST a task": lambda turn: send("POST", "/tasks", {"title": f"New {turn}"}),
    }
    return {name: functions_of(operation) for name, operation in operations.items()}


def functions_of(operation: Send) -> set[CodeType]:
    """Run an operation and return the functions of ``app/`` that ran in this thread."""
    for turn in range(WARM_UPS):
        operation(turn)
    functions: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and is_function_of_app(frame.f_code):
            functions.add(frame.f_code)

    sys.setprofile(profile)
    try:
        operation(WARM_UPS)
    finally:
        sys.setprofile(None)
    return functions


def is_function_of_app(code: CodeType) -> bool:
    """Return whether a code object is a function, a method or a lambda of ``app/``."""
    # Modules and class bodies have no optimized locals.
    return (
        bool(code.co_flags & inspect.CO_OPTIMIZED)
        and code.co_name not in COMPREHENSIONS
        and APP in Path(code.co_filename).parents
    )


@contextmanager
def application() -> Iterator[Flask]:
    """Create an application on a new SQLite database; its log lines are discarded."""
    with TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        app = create_app(
            {
                "DATABASE_URL": f"sqlite:///{folder}/tasks.db",
                "INSTANCE_PATH": folder,
                "MAIL_BACKEND": "dummy",
                "SECRET_KEY": "x" * 64,
                "JWT_SECRET_KEY": "y" * 64,
                "RATELIMIT_ENABLED": False,
            }
        )
        with app.app_context():
            upgrade(directory=str(ROOT / "migrations"))
        yield app


def by_file(functions: set[CodeType]) -> Mapping[str, list[str]]:
    """Return the names of the functions in each file, in the order of their lines."""
    files: dict[str, list[str]] = defaultdict(list)
    for code in sorted(functions, key=lambda code: (code.co_filename, code.co_firstlineno)):
        files[str(Path(code.co_filename).relative_to(ROOT))].append(code.co_qualname)
    return files


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = arguments.add_argument
    add("--list", action="store_true", help="print the functions of each operation by file")
    add("--report", type=Path, help="document whose table to replace")
    return arguments


def main() -> None:
    """Print the table."""
    arguments = parser().parse_args()
    with application() as app:
        operations = {name: by_file(found) for name, found in count(app.test_client()).items()}
    rows = [
        [name, str(sum(map(len, files.values()))), str(len(files))]
        for name, files in operations.items()
    ]
    table = report.table(["operation", "functions", "files"], rows)
    print(table)
    if arguments.report:
        report.replace_section(arguments.report, "call_path", table)
    if arguments.list:
        for name, files in operations.items():
            print(f"\n{name}")
            for file, functions in files.items():
                print(f"  {file}", *functions, sep="\n    ")


if __name__ == "__main__":
    main()
