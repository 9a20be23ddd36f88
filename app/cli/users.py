"""``flask users``: accounts, for the operator of an installation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import marshmallow
from flask.cli import with_appcontext

from app.auth import services as accounts
from app.auth.models import Role, User
from app.auth.schemas import REGISTER
from app.cli.refusals import Command
from app.errors import Conflict, Fault, NotFound, ValidationFailed
from app.http.body import faults_of
from app.http.output import Row
from app.users import services
from app.users.policy import OPERATOR

PAGE = 200


@click.group()
def users() -> None:
    """Manage accounts. NAME is a username or an address."""


@users.command(cls=Command)
@click.argument("username")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Make the account an administrator's.")
@click.password_option(help="Asked for when left out.")
@with_appcontext
def create(username: str, email: str, password: str, *, admin: bool) -> None:
    """Open an account."""
    said = {"username": username, "email": email, "password": password}
    role = Role.admin if admin else Role.user
    with _sentences():
        user = accounts.register(**REGISTER.load(said), role=role, by_operator=True)
    _show(user)


@users.command(name="list", cls=Command)
@click.option("--role", type=click.Choice([*Role]), help="Only those of one role.")
@click.option("--disabled/--enabled", default=None, help="Only those that are, or are not.")
@with_appcontext
def list_(role: str | None, *, disabled: bool | None) -> None:
    """List accounts, the oldest first."""
    asked = {"role": role, "disabled": disabled}
    filters = {name: value for name, value in asked.items() if value is not None}
    found = False
    for row in _walk(filters):
        found = True
        state = "disabled" if row["disabled"] else "enabled"
        click.echo(f"{row['id']}\t{row['username']}\t{row['email']}\t{row['role']}\t{state}")
    if not found and not filters:
        click.echo("There is no account yet: flask users create NAME EMAIL", err=True)


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def promote(name: str) -> None:
    """Make an account an administrator's."""
    _change(name, {"role": Role.admin})


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def demote(name: str) -> None:
    """Make an administrator's account a user's."""
    _change(name, {"role": Role.user})


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def disable(name: str) -> None:
    """Refuse an account, with all of its tokens, until it is enabled again."""
    _change(name, {"disabled": True})


@users.command(cls=Command)
@click.argument("name")
@with_appcontext
def enable(name: str) -> None:
    """Take a disabled account again, with all of its tokens."""
    _change(name, {"disabled": False})


@users.command(cls=Command)
@click.argument("name")
@click.password_option(help="The new one; asked for when left out.")
@with_appcontext
def reset(name: str, password: str) -> None:
    """Set a new password, and end all sessions and personal tokens of an account."""
    with _sentences():
        user = services.find_user(OPERATOR, name)
        services.reset_password(OPERATOR, user.id, new_password=password)
    _show(user)


@users.command(cls=Command)
@click.argument("name")
@click.confirmation_option(prompt="Delete the account and all that is its own?")
@with_appcontext
def delete(name: str) -> None:
    """Delete an account and all that is its own."""
    with _sentences():
        user_id = services.find_user(OPERATOR, name).id
        services.delete_user(OPERATOR, user_id)
    click.echo(f"Account {user_id} is deleted.")


def _change(name: str, changes: Mapping[str, Any]) -> None:
    with _sentences():
        user = services.find_user(OPERATOR, name)
        _show(services.change_user(OPERATOR, user.id, changes))


def _walk(filters: Mapping[str, Any]) -> Iterator[Row]:
    cursor = None
    while True:
        page = services.list_users(
            OPERATOR, filters=filters, sort="created_at", limit=PAGE, cursor=cursor
        )
        yield from page.rows
        if (cursor := page.next_cursor) is None:
            return


def _show(user: User) -> None:
    state = ", disabled" if user.disabled else ""
    click.echo(f"Account {user.id}: {user.username}, {user.role}{state}.")


@contextmanager
def _sentences() -> Iterator[None]:
    """Tell of refusals in words. Raises click.ClickException."""
    try:
        yield
    except marshmallow.ValidationError as error:
        raise click.ClickException(_told(list(faults_of(error.messages)))) from None
    except ValidationFailed as error:
        raise click.ClickException(_told(error.faults)) from None
    except NotFound:
        raise click.ClickException("There is no such account: flask users list") from None
    except Conflict as error:
        raise click.ClickException(error.detail) from None


def _told(faults: Sequence[Fault]) -> str:
    return "\n".join(f"{fault['pointer'].lstrip('/')}: {fault['detail']}" for fault in faults)
