"""``flask doctor``."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.cli.groups import Command
from app.health import services
from app.outbox.celery import celery_app


@click.command(cls=Command)
@with_appcontext
def doctor() -> None:
    """Check that this installation is ready to serve."""
    # An invalid configuration has stopped the command already.
    click.echo("configuration: ok")
    parts = services.check_installation(current_app.config["REDIS_URL"], celery_app())
    for name, state in parts.items():
        click.echo(f"{name}: {state}")
    if not services.is_ready(parts):
        raise click.ClickException("This installation is not ready to serve.")
