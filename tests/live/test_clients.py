"""Generated clients work with the server without changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.server import started

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "api.yaml"
TYPESCRIPT = ROOT / ".ci" / "clients"
POSTGRES = os.environ.get("TEST_DATABASE_URL")

JOURNEY = """
from http import HTTPStatus
import sys

from api_client import AuthenticatedClient, Client
from api_client.api.auth import log_in, register
from api_client.api.tasks import update_task, create_task, delete_task, list_tasks, read_task
from api_client.models import UpdateTask, CreateTask, Login, Register, TaskPriority
from api_client.models import ListTasksSort

base_url = sys.argv[1]
anonymous = Client(base_url=base_url)
account = Register(username="ada", email="ada@example.com", password="correct horse battery")
assert register.sync(client=anonymous, body=account).username == "ada"
rejected = register.sync_detailed(client=anonymous, body=account)
assert (rejected.status_code, rejected.parsed.code) == (HTTPStatus.CONFLICT, "conflict")
login = log_in.sync(client=anonymous, body=Login(username="ada", password="correct horse battery"))
api = AuthenticatedClient(base_url=base_url, token=login.access_token)

created = [create_task.sync(client=api, body=CreateTask(title=f"Task {n}")).id for n in range(500)]
seen, cursor = [], {}
while True:
    page = list_tasks.sync(client=api, sort=ListTasksSort.CREATED_AT, limit=150, **cursor)
    seen += [task.id for task in page.data]
    if page.next_cursor is None:
        break
    cursor = {"cursor": page.next_cursor}
assert seen == created

body = UpdateTask.from_dict({"priority": "high"})
changed = update_task.sync(created[0], client=api, body=body, if_match='"1"')
assert (changed.priority, changed.version) == (TaskPriority.HIGH, 2)
assert changed.deleted_at is None
stale = update_task.sync_detailed(created[0], client=api, body=body, if_match='"1"')
assert (stale.status_code, stale.parsed.code) == (HTTPStatus.PRECONDITION_FAILED, "stale_version")

deleted = delete_task.sync_detailed(created[0], client=api)
assert deleted.status_code == HTTPStatus.NO_CONTENT
assert read_task.sync(created[0], client=api).code == "not_found"
"""


def test_generated_python_client_works(tmp_path):
    generator = Path(sys.executable).with_name("openapi-python-client")
    target = tmp_path / "api_client"
    generated = subprocess.run(
        [generator, "generate", "--path", DOCUMENT, "--output-path", target, "--meta", "none"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Cannot parse" not in generated.stdout
    with started(POSTGRES) as server:
        subprocess.run(
            [sys.executable, "-c", JOURNEY, f"http://127.0.0.1:{server.port}"],
            cwd=tmp_path,
            check=True,
        )


@pytest.mark.skipif(not shutil.which("npm") and "NO_SKIPS" not in os.environ, reason="needs npm")
def test_generated_typescript_passes_strict_type_checks(tmp_path):
    for file in TYPESCRIPT.iterdir():
        shutil.copy(file, tmp_path)

    def run(*command):
        subprocess.run(command, cwd=tmp_path, check=True)

    run("npm", "install", "--silent", "--no-audit", "--no-fund")
    run("npx", "openapi-typescript", DOCUMENT, "--output", "api.ts")
    run("npx", "tsc", "--strict", "--noEmit", "--module", "esnext", "--target", "es2022",
        "--moduleResolution", "bundler", "--skipLibCheck", "use.ts")  # fmt: skip
