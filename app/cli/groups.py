"""Base classes of the commands, which report errors in one line instead of a traceback."""

from collections.abc import Iterable
from typing import Any

import click
from flask.cli import AppGroup
from marshmallow import ValidationError
from sqlalchemy.exc import DBAPIError

from app.api.parsing import flatten_errors
from app.errors import FieldError, Problem, ValidationFailed


class Command(click.Command):
    """A command that calls services."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises click.ClickException for a problem or a database error."""
        try:
            return super().invoke(ctx)
        except ValidationError as error:
            message = _format_errors(flatten_errors(error.messages))
        except ValidationFailed as error:
            message = _format_errors(error.errors)
        except Problem as error:
            message = error.detail
        except DBAPIError as error:
            message = f"{error_message(error)}\nIs it running, and is `flask db upgrade` done?"
        raise click.ClickException(message)


class Group(AppGroup):
    """A group of such commands, which run in the application context."""

    command_class = Command


def error_message(error: DBAPIError) -> str:
    """Return the first line of an error of the database."""
    [first_line, *_] = str(error.orig).splitlines()
    return f"The database reported: {first_line}"


def _format_errors(errors: Iterable[FieldError]) -> str:
    return "\n".join(f"{error['pointer'].lstrip('/')}: {error['detail']}" for error in errors)
