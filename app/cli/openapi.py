"""``flask openapi``: the API's document, for whoever changes the API."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.config import ROOT
from app.http.openapi import build
from app.site.document import to_yaml

COMMITTED = ROOT / "docs" / "api.yaml"


@click.group()
def openapi() -> None:
    """Manage the OpenAPI document."""


@openapi.command()
@with_appcontext
def write() -> None:
    """Write the document to docs/api.yaml."""
    COMMITTED.write_text(to_yaml(build(current_app)))
    click.echo(f"Wrote {COMMITTED.relative_to(ROOT)}.")
