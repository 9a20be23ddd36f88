"""Fill the database of DATABASE_URL: ``python -m benchmarks.fill USERS TASKS [OTHERS]``."""

import sys
from itertools import islice
from typing import Any

from flask_migrate import upgrade
from sqlalchemy import insert

from app import create_app
from app.auth import passwords
from app.auth.models import Role, User, identity_key
from app.extensions import db
from app.tasks.models import Task, build_task_values
from benchmarks import dataset

BATCH_SIZE = 2000


def fill(users: int, tasks_per_user: int, others: int = 0) -> None:
    """Migrate the database and insert the rows; ``others`` are users without tasks."""
    password_hash = passwords.hash_password(dataset.PASSWORD)
    with create_app().app_context():
        upgrade(directory=str(dataset.ROOT / "migrations"))
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
                    "created_at": dataset.START,
                    "updated_at": dataset.START,
                }
                for name in dataset.usernames(users + others)
            ],
        )
        rows = dataset.tasks(users, tasks_per_user)
        while batch := [_columns(row) for row in islice(rows, BATCH_SIZE)]:
            db.session.execute(insert(Task), batch)
            db.session.commit()


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    computed = ("created_at", "updated_at", "completed_at")
    values = {name: value for name, value in row.items() if name not in computed}
    return build_task_values(row["created_at"], owner_zone="UTC", **values)


if __name__ == "__main__":
    fill(*(int(number) for number in sys.argv[1:]))
