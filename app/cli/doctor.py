"""``flask doctor``: whether this installation is fit to serve, for whoever set it up."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.cli.refusals import Command
from app.health import services
from app.outbox.celery import carrier


@click.command(cls=Command)
@with_appcontext
def doctor() -> None:
    """Check the configuration, the connections, the migrations, the worker and the clock."""
    # A configuration that is not usable has stopped the command already.
    click.echo("configuration: ok")
    celery = carrier()
    parts = services.readiness(current_app.config.get("REDIS_URL"), celery)
    if celery:
        parts["worker"] = services.worker_state(celery)
    parts["clock"] = services.clock_state()
    for name, state in parts.items():
        click.echo(f"{name}: {state}")
    if not services.is_ready(parts):
        raise click.ClickException("This installation can't serve as it is.")
