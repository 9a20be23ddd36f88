"""The tables' rows."""

import data
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from peers.drf.models import Task


def fill(users: int, each: int) -> None:
    # Tables without migrations are made first, and ours refer to the users'.
    call_command("migrate", "auth", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    password = make_password(data.PASSWORD)
    User.objects.bulk_create(
        User(username=name, email=f"{name}@example.com", password=password)
        for name in data.usernames(users)
    )
    Task.objects.bulk_create(
        (
            Task(
                **{name: value for name, value in row.items() if name != "created_by"}
                | {"priority": Task.Priority[row["priority"]], "created_by_id": row["created_by"]}
            )
            for row in data.tasks(users, each)
        ),
        batch_size=2000,
    )
