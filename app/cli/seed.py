"""``flask seed``: accounts and tasks to try things out with, and to measure by."""

import random
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import func, insert, select

from app import clock
from app.auth import passwords
from app.auth.models import Role, User, identity_key
from app.cli.refusals import Command
from app.extensions import db
from app.tasks import positions
from app.tasks.models import Priority, Status, Task, if_ahead, task_values

CHUNK = 2000
NAMES = (
    "ada",
    "alan",
    "barbara",
    "edsger",
    "frances",
    "grace",
    "ken",
    "margaret",
    "niklaus",
    "radia",
)
VERBS = (
    "Write",
    "Review",
    "Send",
    "Plan",
    "Fix",
    "Order",
    "Call about",
    "Prepare",
    "Clean",
    "Book",
)
THINGS = (
    "the quarterly report",
    "the invoices",
    "the team's offsite",
    "the broken tap",
    "a birthday cake",
    "the dentist",
    "the release notes",
    "the garden fence",
    "the train to Zürich",
    "new running shoes",
)
NOTES = (
    None,
    "Ask the others first.",
    "See the *shared folder* for last year's version.",
    "- [ ] gather\n- [ ] sort\n- [ ] send",
)
ZONES = (None, None, "Europe/Zurich", "America/New_York", "Asia/Tokyo")


@click.command(cls=Command)
@click.option("--users", "user_count", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--tasks", "task_count", type=click.IntRange(0), default=50, show_default=True,
    help="Tasks of each account.",
)  # fmt: skip
@click.option("--password", help="The accounts' password; made and shown when left out.")
@with_appcontext
def seed(user_count: int, task_count: int, password: str | None) -> None:
    """Add made-up accounts and tasks to a database that is not a production's."""
    if current_app.config["PRODUCTION"]:
        raise click.ClickException("Production data is not made up: FLASK_CONFIG is production.")
    password = password or secrets.token_urlsafe(12)
    if weakness := passwords.weakness(passwords.normalise(password)):
        raise click.BadParameter(weakness, param_hint="--password")
    owners = _add_users(user_count, password)
    total = user_count * task_count
    with click.progressbar(length=total, label=f"Adding {total} tasks") as bar:
        for owner_id in owners:
            _add_tasks(owner_id, task_count, bar.update)
    click.echo(f"Added {user_count} accounts with {task_count} tasks each.")
    first = db.session.get_one(User, owners[0])
    click.echo(f"Log in as {first.username} with the password {password}")


def _add_users(count: int, password: str) -> list[int]:
    password_hash = passwords.hash_password(passwords.normalise(password))
    taken = db.session.scalar(select(func.max(User.id))) or 0
    now = clock.now()
    rows = []
    for number in range(taken + 1, taken + 1 + count):
        # Made-up, and nobody's yet: the number alone may be part of somebody's name.
        name = f"{random.choice(NAMES)}.{number}.{secrets.token_hex(3)}"  # noqa: S311
        email = f"{name}@example.com"
        rows.append(
            {
                "username": name,
                "username_key": identity_key(name),
                "email": email,
                "email_key": identity_key(email),
                "email_verified": False,
                "password_hash": password_hash,
                "role": Role.user,
                "time_zone": "UTC",
                "created_at": now,
                "updated_at": now,
            }
        )
    made = db.session.scalars(insert(User).returning(User.id, sort_by_parameter_order=True), rows)
    ids = list(made)
    db.session.commit()
    return ids


def _add_tasks(owner_id: int, count: int, added: Any) -> None:
    tasks = _tasks(owner_id, count, clock.now())
    while rows := list(islice(tasks, CHUNK)):
        db.session.execute(insert(Task), rows)
        db.session.commit()
        added(len(rows))


def _tasks(owner_id: int, count: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``count`` tasks that were made in the course of the last year."""
    chance = random.Random(owner_id)  # noqa: S311  # made-up data, the same each time
    position = None
    step = timedelta(days=365) / max(count, 1)
    for number in range(count):
        position = positions.after(position)
        day, instant = _due(chance, now)
        row = task_values(
            now - step * (count - number),
            owner_zone="UTC",
            created_by=owner_id,
            title=f"{chance.choice(VERBS)} {chance.choice(THINGS)}",
            description=chance.choice(NOTES),
            status=chance.choice(list(Status)).value,
            priority=chance.choice(list(Priority)).name,
            due_date=day,
            due_at=instant,
            time_zone=chance.choice(ZONES),
            position=position,
        )
        # Nobody is reminded of what was due between then and now.
        yield row | {"remind_at": if_ahead(row["remind_at"], now)}


def _due(chance: random.Random, now: datetime) -> tuple[Any, Any]:
    due = (now + timedelta(hours=chance.randint(-2000, 2000))).replace(microsecond=0)
    return chance.choice([(None, None), (due.date(), None), (None, due)])
