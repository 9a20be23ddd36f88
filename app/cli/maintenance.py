"""``flask audit``, ``flask doctor`` and ``flask openapi``."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.api.openapi import build
from app.audit import services as audit_services
from app.cli.groups import Command, Group
from app.config import ROOT
from app.docs_site.spec import to_yaml
from app.health import services as health_services
from app.outbox.celery import celery_app

DOCUMENT = ROOT / "docs" / "api.yaml"

audit = Group("audit", help="Manage the audit log.")
openapi = Group("openapi", help="Manage the OpenAPI document.")


@audit.command()
def purge() -> None:
    """Delete events older than AUDIT_DAYS."""
    days = current_app.config["AUDIT_DAYS"]
    deleted = audit_services.purge(days=days)
    click.echo(f"Deleted {deleted} events older than {days} days.")


@click.command(cls=Command)
@with_appcontext
def doctor() -> None:
    """Check that this installation is ready to serve."""
    # An invalid configuration has stopped the command already.
    click.echo("configuration: ok")
    parts = health_services.check_installation(current_app.config["REDIS_URL"], celery_app())
    for name, state in parts.items():
        click.echo(f"{name}: {state}")
    if not health_services.is_ready(parts):
        raise click.ClickException("This installation is not ready to serve.")


@openapi.command()
def write() -> None:
    """Write the document to docs/api.yaml."""
    DOCUMENT.write_text(to_yaml(build(current_app)))
    click.echo(f"Wrote {DOCUMENT.relative_to(ROOT)}.")
