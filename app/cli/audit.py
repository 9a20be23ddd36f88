"""``flask audit``."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.audit import services
from app.cli.errors import Command


@click.group()
def audit() -> None:
    """Manage the audit log."""


@audit.command(cls=Command)
@with_appcontext
def purge() -> None:
    """Delete events older than AUDIT_DAYS."""
    days = current_app.config["AUDIT_DAYS"]
    deleted = services.purge(days=days)
    click.echo(f"Deleted {deleted} events older than {days} days.")
