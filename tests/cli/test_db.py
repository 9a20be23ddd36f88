"""``flask db``, and ``python run.py`` which does its work: a database that refuses is told of."""

import os
import subprocess
import sys

import pytest
from sqlalchemy import text

from app import create_app
from app.extensions import db
from tests.conftest import ROOT

MIGRATIONS = str(ROOT / "migrations")
DOWN = {
    "postgresql://tasks@127.0.0.1:1/tasks": "connection to server at ",
    "sqlite:////proc/no/such/folder/tasks.db": "unable to open database file",
}


def run(app, *args):
    return app.test_cli_runner().invoke(args=["db", *args, "--directory", MIGRATIONS])


@pytest.fixture(params=DOWN)
def down(request, settings):
    """An application whose database can't be reached."""
    app = create_app(settings | {"DATABASE_URL": request.param})
    yield app, DOWN[request.param]
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    "command", ["upgrade", "downgrade", "current", "check", "migrate", "stamp"]
)
def test_a_database_that_is_down_is_told_of_in_a_line(down, command):
    app, told = down
    result = run(app, command)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: The database says: ")
    assert told in line


def test_a_database_that_refuses_a_migration_is_told_of_in_a_line_and_left_as_it_was(app, stored):
    [(head,)] = stored(text("SELECT version_num FROM alembic_version"))
    with app.app_context():
        db.session.execute(text("DELETE FROM alembic_version"))
        db.session.commit()
    try:
        result = run(app, "upgrade")
        left = stored(text("SELECT version_num FROM alembic_version"))
    finally:
        with app.app_context():
            db.session.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})
            db.session.commit()
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: The database says: ")
    assert "already exists" in result.stderr
    assert "Traceback" not in result.stderr
    assert left == []


@pytest.mark.parametrize("url", DOWN)
def test_the_server_does_not_start_on_a_database_that_is_down(url, tmp_path):
    environ = {
        "PATH": os.environ["PATH"],
        "FLASK_CONFIG": "development",
        "DATABASE_URL": url,
        "INSTANCE_PATH": str(tmp_path),
    }
    ended = subprocess.run(
        [sys.executable, "run.py"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("The database says: ")
    assert DOWN[url] in line
