"""docs/deployment.md: the files and commands in it exist, and a backup can be restored."""

import os
import re
import shutil
import subprocess

import click
import pytest

from benchmarks.server import ROOT, Client, started

DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
POSTGRES = os.environ.get("TEST_DATABASE_URL")
PASSWORD = "correct horse battery"
CREATED_BY_THE_READER = {"deploy/.env", "deploy/kubernetes/.env"}


def blocks(language):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", DOCUMENT)


def test_shell_blocks_are_valid():
    for block in blocks("sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_named_files_exist():
    named = set(re.findall(r"deploy/[\w./-]*\w|(?<=`)[\w.-]+\.conf(?=`)", DOCUMENT))
    existing = [path for path in (ROOT / "deploy").rglob("*") if "__pycache__" not in path.parts]
    missing = (
        named - {str(path.relative_to(ROOT)) for path in existing} - {p.name for p in existing}
    )
    assert missing <= CREATED_BY_THE_READER


def test_named_commands_exist(app):
    commands = re.findall(
        r"(?:task-api|flask) ((?:users|db|audit|outbox|doctor)(?: [a-z]+)?)", DOCUMENT
    )
    assert len(commands) > 4
    for words in commands:
        command = app.cli
        for word in words.split():
            subcommand = command.get_command(click.Context(command), word)
            assert subcommand is not None, words
            command = subcommand


def test_started_units_exist():
    lines = re.findall(
        r"(?m)^systemctl (?:start|restart|enable --now) (.*)$", "".join(blocks("sh"))
    )
    names = [name for line in lines for name in line.split() if name.startswith("task-api-")]
    for name in names:
        unit = re.sub(r"@\d+", "@", name)
        assert (ROOT / "deploy" / "systemd" / f"{unit}.service").exists()
    assert {"task-api-migrate", "task-api-web@5001", "task-api-worker@1", "task-api-beat"} <= set(
        names
    )


def run(database, number, folder, **environ):
    """Run the commands of one console block for a database."""
    block = blocks(f"console {database}")[number]
    script = "\n".join(line[2:] for line in block.splitlines())
    script = script.replace("/var/lib/task-api", str(folder))
    subprocess.run(["bash", "-eu"], input=script, text=True, check=True, cwd=folder,
                   env=os.environ | environ)  # fmt: skip


def register(server, name):
    with Client(server.port) as client:
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        assert client.call("POST", "/auth/register", account)[0] == 201


def can_log_in(server, name):
    with Client(server.port) as client:
        login = {"username": name, "password": PASSWORD}
        return client.call("POST", "/auth/login", login)[0] == 200


@pytest.mark.skipif(
    not shutil.which("pg_dump") and "NO_SKIPS" not in os.environ, reason="needs pg_dump"
)
def test_backup_restores_its_state():
    database = "postgresql" if POSTGRES else "sqlite"
    with started(POSTGRES) as server:
        folder = server.log.parent
        url = server.database_url
        register(server, "ada")
        run(database, 0, folder, DATABASE_URL=url)
        register(server, "eve")
        server.stop()
        run(database, 1, folder, DATABASE_URL=url)
        server.start()
        assert can_log_in(server, "ada")
        assert not can_log_in(server, "eve")
