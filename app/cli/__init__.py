"""Commands of ``flask``."""

from flask import Flask

from app.cli.maintenance import audit, doctor, openapi
from app.cli.outbox import outbox
from app.cli.seed import seed
from app.cli.users import users


def init_app(app: Flask) -> None:
    """Register the commands."""
    # ``flask openapi`` replaces flask-smorest's.
    for command in (users, audit, outbox, seed, doctor, openapi):
        app.cli.add_command(command)
