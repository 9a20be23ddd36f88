"""``flask audit``."""

import click
from flask import current_app

from app.audit import services
from app.cli.groups import Group

audit = Group("audit", help="Manage the audit log.")


@audit.command()
def purge() -> None:
    """Delete events older than AUDIT_DAYS."""
    days = current_app.config["AUDIT_DAYS"]
    deleted = services.purge(days=days)
    click.echo(f"Deleted {deleted} events older than {days} days.")
