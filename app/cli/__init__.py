"""Commands of ``flask``."""

from flask import Flask

from app.cli.audit import audit
from app.cli.doctor import doctor
from app.cli.openapi import openapi as openapi_group
from app.cli.outbox import outbox
from app.cli.seed import seed
from app.cli.users import users


def init_app(app: Flask) -> None:
    """Register the commands."""
    app.cli.add_command(users)
    app.cli.add_command(audit)
    app.cli.add_command(outbox)
    app.cli.add_command(seed)
    app.cli.add_command(doctor)
    app.cli.add_command(openapi_group)  # replaces flask-smorest's
