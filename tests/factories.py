"""Rows to put into the database without the API, for tests of what lies beneath it."""

from datetime import UTC, datetime

import factory

from app.auth.models import identity_key
from app.tasks.models import task_values

MOMENT = datetime(2030, 1, 31, 9, tzinfo=UTC)


class UserRow(factory.DictFactory):
    """The columns of an account that nobody can log in to: ``UserRow(username="ada")``."""

    username = factory.Sequence(lambda number: f"user{number}")
    username_key = factory.LazyAttribute(lambda row: identity_key(row.username))
    email = factory.LazyAttribute(lambda row: f"{row.username}@example.com")
    email_key = factory.LazyAttribute(lambda row: identity_key(row.email))
    email_verified = False
    password_hash = "x"  # no password has this hash
    role = "user"
    time_zone = "UTC"
    created_at = MOMENT
    updated_at = MOMENT


class TaskRow(factory.Factory):
    """The columns of a task: ``TaskRow(created_by=1, title="Buy milk")``."""

    class Meta:
        model = task_values

    now = MOMENT
    owner_zone = "UTC"
    created_by = 1
    title = factory.Sequence(lambda number: f"Task {number}")
    description = None
    status = "pending"
    priority = "none"
    due_date = None
    due_at = None
    time_zone = None
    position = "a0"
