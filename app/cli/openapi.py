"""``flask openapi``."""

import click
from flask import current_app

from app.api.openapi import build
from app.cli.groups import Group
from app.config import ROOT
from app.docs_site.spec import to_yaml

COMMITTED = ROOT / "docs" / "api.yaml"

openapi = Group("openapi", help="Manage the OpenAPI document.")


@openapi.command()
def write() -> None:
    """Write the document to docs/api.yaml."""
    COMMITTED.write_text(to_yaml(build(current_app)))
    click.echo(f"Wrote {COMMITTED.relative_to(ROOT)}.")
