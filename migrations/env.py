"""Alembic environment: an upgrade is one transaction on both databases."""

from typing import Any, Literal

import click
from alembic import context
from alembic.autogenerate.api import AutogenContext
from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator

from app.cli.groups import error_message
from app.db.engine import begin_write, disable_timeouts
from app.extensions import db

LOCK_SECONDS = 5


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write a column's type as the database knows it: our own types change, migrations don't."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def include_object(
    item: Any,
    name: str | None,
    kind: str,
    reflected: bool,  # noqa: FBT001  # as Alembic calls it
    _compared_to: Any,
) -> bool:
    """Leave out what the other database has and this one hasn't."""
    if kind == "index":
        here = db.engine.dialect.name
        return bool(reflected or item.info.get("dialect", here) == here)
    return not (kind == "table" and reflected and str(name).startswith("tasks_search"))


def migrate(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # Changed tables are rebuilt; dropping the old one must not cascade.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        try:
            run(connection)
        finally:
            # The pragma has no effect in a transaction, and the connection returns to the pool.
            connection.rollback()
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    else:
        # A statement that waits for a lock blocks all later ones: fail instead, and retry.
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        run(connection)


def run(connection: Connection) -> None:
    disable_timeouts(connection)
    begin_write(connection)
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        render_item=render_item,
        include_object=include_object,
        **current_app.extensions["migrate"].configure_args,
    )
    context.run_migrations()
    connection.commit()


if context.is_offline_mode():
    context.configure(url=str(db.engine.url), target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    try:
        with db.engine.connect() as connection:
            migrate(connection)
    except DBAPIError as error:
        raise click.ClickException(error_message(error)) from None
