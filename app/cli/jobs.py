"""``flask jobs``: work that is done in the background, for the operator of an installation."""

import click
from flask.cli import with_appcontext

from app.cli.refusals import Command
from app.database import BIGGEST_ID
from app.outbox import services


@click.group()
def jobs() -> None:
    """Manage work that is done in the background."""


@jobs.command(name="list", cls=Command)
@with_appcontext
def list_() -> None:
    """List what waits, is at hand or was given up, the oldest first."""
    for row in services.list_items():
        due = f"{row['due_at']:%Y-%m-%dT%H:%M:%SZ}"
        told = (row["id"], row["kind"], row["attempts"], row["state"], due, row["error"] or "-")
        click.echo("\t".join(map(str, told)))


@jobs.command(cls=Command)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1, max=BIGGEST_ID))
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@with_appcontext
def retry(ids: tuple[int, ...], *, everything: bool) -> None:
    """Try again what was given up."""
    if bool(ids) == everything:
        raise click.UsageError("Name what to try again, or say --all.")
    count = services.retry(None if everything else ids)
    if ids and count < len(set(ids)):
        raise click.ClickException(
            f"{count} of {len(set(ids))} are tried again; the others were not given up:"
            " flask jobs list"
        )
    click.echo(f"{count} are tried again.")


@jobs.command(cls=Command)
@with_appcontext
def purge() -> None:
    """Delete everything that has been kept for long enough, as is done daily anyway."""
    for name, rows in services.purge():
        click.echo(f"{name}: {rows}")
