"""Error messages of commands: one line instead of a traceback."""

from typing import Any

import click
from sqlalchemy.exc import DBAPIError


class Command(click.Command):
    """A command that uses the database."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises click.ClickException for an error of the database."""
        try:
            return super().invoke(ctx)
        except DBAPIError as error:
            message = f"{error_message(error)}\nIs it running, and is `flask db upgrade` done?"
            raise click.ClickException(message) from None


def error_message(error: DBAPIError) -> str:
    """Return the first line of an error of the database."""
    [first_line, *_] = str(error.orig).splitlines()
    return f"The database reported: {first_line}"
