"""Put the rows into our own database, which DATABASE_URL names: fill.py USERS TASKS [OTHERS]."""

import sys
from itertools import islice

import data
from flask_migrate import upgrade
from sqlalchemy import insert

from app import create_app
from app.auth import passwords
from app.auth.models import Role, User, identity_key
from app.extensions import db
from app.tasks.models import Task, task_values

CHUNK = 2000


def fill(users: int, each: int, others: int = 0) -> None:
    """Migrate, and put the rows in through the application's models; ``others`` have no tasks."""
    password_hash = passwords.hash_password(data.PASSWORD)
    with create_app().app_context():
        upgrade(directory=str(data.ROOT / "migrations"))
        db.session.execute(
            insert(User),
            [
                {
                    "username": name,
                    "username_key": identity_key(name),
                    "email": f"{name}@example.com",
                    "email_key": identity_key(f"{name}@example.com"),
                    "email_verified": True,
                    "password_hash": password_hash,
                    "role": Role.user,
                    "time_zone": "UTC",
                    "created_at": data.START,
                    "updated_at": data.START,
                }
                for name in data.usernames(users + others)
            ],
        )
        rows = data.tasks(users, each)
        while some := [_columns(row) for row in islice(rows, CHUNK)]:
            db.session.execute(insert(Task), some)
            db.session.commit()


def _columns(row: dict[str, object]) -> dict[str, object]:
    made = ("created_at", "updated_at", "completed_at")
    said = {name: value for name, value in row.items() if name not in made}
    return task_values(row["created_at"], owner_zone="UTC", **said)


if __name__ == "__main__":
    fill(*(int(number) for number in sys.argv[1:]))
