"""``flask audit``: the record of who did what."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.audit import services
from app.cli.refusals import Command


@click.group()
def audit() -> None:
    """Manage the record of who did what."""


@audit.command(cls=Command)
@with_appcontext
def purge() -> None:
    """Delete the events that are older than AUDIT_DAYS."""
    days = current_app.config["AUDIT_DAYS"]
    gone = services.purge(days=days)
    click.echo(f"Deleted {gone} events older than {days} days.")
