"""``flask users``: accounts, for the operator of an installation."""

from collections.abc import Sequence

import click
import marshmallow
from flask.cli import with_appcontext

from app.auth import services
from app.auth.models import Role
from app.auth.schemas import REGISTER
from app.cli.refusals import Command
from app.errors import Conflict, Fault, ValidationFailed
from app.http.body import faults_of


@click.group()
def users() -> None:
    """Manage accounts."""


@users.command(cls=Command)
@click.argument("username")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Make the account an administrator's.")
@click.password_option(help="Asked for when left out.")
@with_appcontext
def create(username: str, email: str, password: str, *, admin: bool) -> None:
    """Open an account."""
    said = {"username": username, "email": email, "password": password}
    try:
        role = Role.admin if admin else Role.user
        user = services.register(**REGISTER.load(said), role=role)
    except marshmallow.ValidationError as error:
        raise click.ClickException(_told(list(faults_of(error.messages)))) from None
    except ValidationFailed as error:
        raise click.ClickException(_told(error.faults)) from None
    except Conflict as error:
        raise click.ClickException(error.detail) from None
    click.echo(f"Account {user.id}: {user.username}, {user.role}.")


def _told(faults: Sequence[Fault]) -> str:
    return "\n".join(f"{fault['pointer'].lstrip('/')}: {fault['detail']}" for fault in faults)


@users.command(name="list", cls=Command)
@with_appcontext
def list_() -> None:
    """List all accounts."""
    found = services.list_users()
    for user in found:
        click.echo(f"{user.id}\t{user.username}\t{user.email}\t{user.role}")
    if not found:
        click.echo("There is no account yet: flask users create NAME EMAIL", err=True)
