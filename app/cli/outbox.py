"""``flask outbox``: commands for the messages of the outbox."""

import click

from app.cli.groups import Group
from app.db.types import MAX_ID
from app.outbox import services

outbox = Group("outbox", help="List, retry and purge messages of the outbox.")


@outbox.command("list")
def list_() -> None:
    """List messages that wait, run or are dead, oldest first."""
    for each in services.list_messages():
        due_at = f"{each.due_at:%Y-%m-%dT%H:%M:%SZ}"
        columns = (each.id, each.type, each.attempts, each.state, due_at, each.error or "-")
        click.echo("\t".join(map(str, columns)))


@outbox.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1, max=MAX_ID))
@click.option("--all", "everything", is_flag=True, help="Retry all dead messages.")
def retry(ids: tuple[int, ...], *, everything: bool) -> None:
    """Retry dead messages."""
    if bool(ids) == everything:
        raise click.UsageError("Give either message ids or --all.")
    count = services.retry(None if everything else ids)
    if ids and count < len(set(ids)):
        raise click.ClickException(
            f"Retrying {count} of {len(set(ids))} messages; the others are not dead."
            " See flask outbox list."
        )
    click.echo(f"Retrying {count} messages.")


@outbox.command()
def purge() -> None:
    """Delete all expired data now; it is deleted daily anyway."""
    for name, rows in services.purge():
        click.echo(f"{name}: {rows}")
