"""``flask seed``: random users and tasks for demonstrations and benchmarks."""

import random
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import insert

from app import clock
from app.auth import passwords
from app.auth.models import Role, User
from app.cli.groups import Command
from app.extensions import db
from app.tasks import positions
from app.tasks.models import Priority, Status, Task, build_task_values, future_or_none

BATCH_SIZE = 2000
NAMES = ("ada", "alan", "barbara", "edsger", "frances", "grace", "ken", "niklaus", "radia")
VERBS = ("Write", "Review", "Send", "Plan", "Fix", "Order", "Discuss", "Prepare", "Clean", "Book")
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
    help="Tasks per user.",
)  # fmt: skip
@click.option("--password", help="Password of the users; random if omitted.")
@with_appcontext
def seed(user_count: int, task_count: int, password: str | None) -> None:
    """Add random users and tasks. Not available in production."""
    if current_app.config["PRODUCTION"]:
        raise click.ClickException("Not available in production (FLASK_CONFIG).")
    password = password or secrets.token_urlsafe(12)
    if weakness := passwords.find_weakness(password):
        raise click.BadParameter(weakness, param_hint="--password")
    users = _add_users(user_count, password)
    total = user_count * task_count
    with click.progressbar(length=total, label=f"Adding {total} tasks") as bar:
        for user in users:
            tasks = _tasks(user.id, task_count, clock.now())
            while rows := list(islice(tasks, BATCH_SIZE)):
                db.session.execute(insert(Task), rows)
                db.session.commit()
                bar.update(len(rows))
    click.echo(f"Added {user_count} users with {task_count} tasks each.")
    click.echo(f"Log in as {users[0].username} with the password {password}")


def _add_users(count: int, password: str) -> list[User]:
    common: dict[str, Any] = {"role": Role.user, "time_zone": "UTC", "email_verified": False}
    common["password_hash"] = passwords.hash_password(password)
    common["created_at"] = common["updated_at"] = clock.now()
    users = []
    for number in range(1, count + 1):
        # The random part avoids conflicts with existing names.
        name = f"{random.choice(NAMES)}.{number}.{secrets.token_hex(3)}"  # noqa: S311
        users.append(User(username=name, email=f"{name}@example.com", **common))
    db.session.add_all(users)
    db.session.commit()
    return users


def _tasks(user_id: int, count: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``count`` tasks, created over the last year."""
    rng = random.Random(user_id)  # noqa: S311  # reproducible data, no secret
    position = None
    step = timedelta(days=365) / max(count, 1)
    for number in range(count):
        position = positions.after(position)
        due_date, due_at = _due(rng, now)
        row = build_task_values(
            now - step * (count - number),
            owner_zone="UTC",
            created_by=user_id,
            title=f"{rng.choice(VERBS)} {rng.choice(THINGS)}",
            description=rng.choice(NOTES),
            status=rng.choice(list(Status)).value,
            priority=rng.choice(list(Priority)).name,
            due_date=due_date,
            due_at=due_at,
            time_zone=rng.choice(ZONES),
            position=position,
        )
        # Due times in the past do not trigger a reminder.
        yield row | {"remind_at": future_or_none(row["remind_at"], now)}


def _due(rng: random.Random, now: datetime) -> tuple[Any, Any]:
    due = (now + timedelta(hours=rng.randint(-2000, 2000))).replace(microsecond=0)
    return rng.choice([(None, None), (due.date(), None), (None, due)])
