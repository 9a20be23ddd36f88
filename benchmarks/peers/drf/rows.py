"""Tables and rows."""

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command

from benchmarks import dataset
from benchmarks.peers.drf.models import Task


def fill(users: int, tasks_per_user: int) -> None:
    # Tasks refer to users, and syncdb creates tables without migrations first.
    call_command("migrate", "auth", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    password = make_password(dataset.PASSWORD)
    User.objects.bulk_create(
        User(username=name, email=f"{name}@example.com", password=password)
        for name in dataset.usernames(users)
    )
    Task.objects.bulk_create(
        (
            Task(
                **{name: value for name, value in row.items() if name != "created_by"}
                | {"priority": Task.Priority[row["priority"]], "created_by_id": row["created_by"]}
            )
            for row in dataset.tasks(users, tasks_per_user)
        ),
        batch_size=2000,
    )
