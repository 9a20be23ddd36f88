"""How commands tell of what is wrong: in a sentence, without a traceback."""

from typing import Any

import click
from sqlalchemy.exc import DBAPIError


class Command(click.Command):
    """A command that uses the database."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. Raises click.ClickException where the database does not go along."""
        try:
            return super().invoke(ctx)
        except DBAPIError as error:
            raise click.ClickException(
                f"{told(error)}\nIs it there, and is `flask db upgrade` done?"
            ) from None


def told(error: DBAPIError) -> str:
    """Return in a line what the database says."""
    [said, *_] = str(error.orig).splitlines()
    return f"The database says: {said}"
