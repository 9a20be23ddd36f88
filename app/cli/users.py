"""``flask users``."""

from functools import partial
from typing import Any

import click

from app.auth.models import Role, User
from app.auth.schemas import CreateUserSchema
from app.auth.services import account
from app.cli.groups import Group
from app.db.pagination import all_pages
from app.errors import NotFound
from app.users import services
from app.users.permissions import SYSTEM

PAGE_SIZE = 200

users = Group("users", help="Manage users. NAME is a username or an email address.")


@users.command()
@click.argument("username")
@click.argument("email")
@click.option("--admin", is_flag=True, help="Make the user an administrator.")
@click.password_option(help="Prompted for if omitted.")
def create(username: str, email: str, password: str, *, admin: bool) -> None:
    """Create a user."""
    fields = {"username": username, "email": email, "password": password}
    role = Role.admin if admin else Role.user
    _show(account.register(**CreateUserSchema().load(fields), role=role, by_system=True))


@users.command("list")
@click.option("--role", type=click.Choice([*Role]), help="Only users with this role.")
@click.option("--disabled/--enabled", default=None, help="Only disabled or enabled users.")
def list_(role: str | None, *, disabled: bool | None) -> None:
    """List users, oldest first."""
    options = {"role": role, "disabled": disabled}
    filters = {name: value for name, value in options.items() if value is not None}
    params = {"filters": filters, "sort": "created_at", "limit": PAGE_SIZE}
    is_empty = True
    for page in all_pages(partial(services.list_users, SYSTEM), **params):
        for row in page.rows:
            is_empty = False
            state = "disabled" if row["disabled"] else "enabled"
            click.echo(f"{row['id']}\t{row['username']}\t{row['email']}\t{row['role']}\t{state}")
    if is_empty and not filters:
        click.echo("There are no users. Create one: flask users create NAME EMAIL", err=True)


@users.command()
@click.argument("name")
@click.password_option(help="The new password; prompted for if omitted.")
def reset(name: str, password: str) -> None:
    """Set a new password; ends all sessions and deletes all personal tokens."""
    user = _find(name)
    services.reset_password(SYSTEM, user.id, new_password=password)
    _show(user)


@users.command()
@click.argument("name")
@click.confirmation_option(prompt="Delete the user and all of its data?")
def delete(name: str) -> None:
    """Delete a user and all of its data."""
    user_id = _find(name).id
    services.delete_user(SYSTEM, user_id)
    click.echo(f"Deleted user {user_id}.")


def _add_change_command(command: str, description: str, **changes: Any) -> None:
    @users.command(command, help=description)
    @click.argument("name")
    def change(name: str) -> None:
        _show(services.update_user(SYSTEM, _find(name).id, changes))


_add_change_command("promote", "Make a user an administrator.", role=Role.admin)
_add_change_command("demote", "Make an administrator a user.", role=Role.user)
_add_change_command("disable", "Block a user and its tokens.", disabled=True)
_add_change_command("enable", "Unblock a disabled user and its tokens.", disabled=False)


def _find(name: str) -> User:
    try:
        return services.find_user(SYSTEM, name)
    except NotFound:
        raise NotFound("The user was not found. List users: flask users list") from None


def _show(user: User) -> None:
    state = ", disabled" if user.disabled else ""
    click.echo(f"User {user.id}: {user.username}, {user.role}{state}.")
