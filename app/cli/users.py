"""``flask users``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import marshmallow
from flask.cli import with_appcontext

from app.api.parsing import flatten_errors
from app.auth.models import Role, User
from app.auth.schemas import RegisterSchema
from app.auth.services import registration
from app.cli.errors import Command
from app.errors import Conflict, FieldError, NotFound, ValidationFailed
from app.users import services
from app.users.permissions import SYSTEM

PAGE_SIZE = 200


@click.group()
def users() -> None:
    """Manage users. NAME is a username or an email address."""


@users.command(cls=Command)
@click.argument("username")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Make the user an administrator.")
@click.password_option(help="Prompted for if omitted.")
@with_appcontext
def create(username: str, email: str, password: str, *, admin: bool) -> None:
    """Create a user."""
    fields = {"username": username, "email": email, "password": password}
    role = Role.admin if admin else Role.user
    with _report_errors():
        user = registration.register(**RegisterSchema().load(fields), role=role, by_system=True)
    _show(user)


@users.command(name="list", cls=Command)
@click.option("--role", type=click.Choice([*Role]), help="Only users with this role.")
@click.option("--disabled/--enabled", default=None, help="Only disabled or enabled users.")
@with_appcontext
def list_(role: str | None, *, disabled: bool | None) -> None:
    """List users, oldest first."""
    options = {"role": role, "disabled": disabled}
    filters = {name: value for name, value in options.items() if value is not None}
    is_empty = True
    for row in _list_all(filters):
        is_empty = False
        state = "disabled" if row["disabled"] else "enabled"
        click.echo(f"{row['id']}\t{row['username']}\t{row['email']}\t{row['role']}\t{state}")
    if is_empty and not filters:
        click.echo("There are no users. Create one: flask users create NAME EMAIL", err=True)


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def promote(name: str) -> None:
    """Make a user an administrator."""
    _change(name, {"role": Role.admin})


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def demote(name: str) -> None:
    """Make an administrator a user."""
    _change(name, {"role": Role.user})


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def disable(name: str) -> None:
    """Block a user and its tokens."""
    _change(name, {"disabled": True})


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def enable(name: str) -> None:
    """Unblock a disabled user and its tokens."""
    _change(name, {"disabled": False})


@users.command(cls=Command)
@click.argument("name")
@click.password_option(help="The new password; prompted for if omitted.")
@with_appcontext
def reset(name: str, password: str) -> None:
    """Set a new password; ends all sessions and deletes all personal tokens."""
    with _report_errors():
        user = services.find_user(SYSTEM, name)
        services.reset_password(SYSTEM, user.id, new_password=password)
    _show(user)


@users.command(cls=Command)
@click.argument("name")
@click.confirmation_option(prompt="Delete the user and all of its data?")
@with_appcontext
def delete(name: str) -> None:
    """Delete a user and all of its data."""
    with _report_errors():
        user_id = services.find_user(SYSTEM, name).id
        services.delete_user(SYSTEM, user_id)
    click.echo(f"Deleted user {user_id}.")


def _change(name: str, changes: Mapping[str, Any]) -> None:
    with _report_errors():
        user = services.find_user(SYSTEM, name)
        _show(services.update_user(SYSTEM, user.id, changes))


def _list_all(filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = services.list_users(
            SYSTEM, filters=filters, sort="created_at", limit=PAGE_SIZE, cursor=cursor
        )
        yield from page.rows
        if (cursor := page.next_cursor) is None:
            return


def _show(user: User) -> None:
    state = ", disabled" if user.disabled else ""
    click.echo(f"User {user.id}: {user.username}, {user.role}{state}.")


@contextmanager
def _report_errors() -> Iterator[None]:
    """Turn errors of schemas and services into messages."""
    try:
        yield
    except marshmallow.ValidationError as error:
        raise click.ClickException(_format_errors(list(flatten_errors(error.messages)))) from None
    except ValidationFailed as error:
        raise click.ClickException(_format_errors(error.errors)) from None
    except NotFound:
        raise click.ClickException("The user was not found. List users: flask users list") from None
    except Conflict as error:
        raise click.ClickException(error.detail) from None


def _format_errors(errors: Sequence[FieldError]) -> str:
    return "\n".join(f"{error['pointer'].lstrip('/')}: {error['detail']}" for error in errors)
