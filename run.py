"""Migrate the database and start gunicorn: ``pipenv run start``.

Arguments are passed to gunicorn: ``python run.py --log-level debug``.
"""

import os
import sys
from pathlib import Path

import click
from dotenv import load_dotenv
from flask_migrate import upgrade

from app import create_app

ROOT = Path(__file__).resolve().parent


def main() -> None:
    """Migrate in this process, then replace it with gunicorn."""
    # Only the owner may read the SQLite file.
    os.umask(0o077)
    load_dotenv(ROOT / ".env")
    os.chdir(ROOT)
    try:
        app = create_app()
        with app.app_context():
            upgrade(directory=str(ROOT / "migrations"))
    except click.ClickException as error:
        sys.exit(str(error))
    if app.config["LOG_FORMAT"] == "text":
        address = app.config["PUBLIC_URL"]
        print(f"The API is at {address}/api/v1, its documentation at {address}/docs.")  # noqa: T201
        print("Ctrl-C stops it.", flush=True)  # noqa: T201
    os.execv(  # noqa: S606  # signals must reach gunicorn
        sys.executable,
        [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", *sys.argv[1:]],
    )


if __name__ == "__main__":
    main()
