"""Factories of database rows, for tests that bypass the API."""

from datetime import UTC, datetime

import factory

from app.auth.models import identity_key
from app.tasks.models import build_task_values

MOMENT = datetime(2030, 1, 31, 9, tzinfo=UTC)


class UserRow(factory.DictFactory):
    """A user who cannot log in: ``UserRow(username="ada")``."""

    username = factory.Sequence(lambda number: f"user{number}")
    username_key = factory.LazyAttribute(lambda row: identity_key(row.username))
    email = factory.LazyAttribute(lambda row: f"{row.username}@example.com")
    email_key = factory.LazyAttribute(lambda row: identity_key(row.email))
    email_verified = False
    password_hash = "x"  # matches no password
    role = "user"
    time_zone = "UTC"
    created_at = MOMENT
    updated_at = MOMENT


class TaskRow(factory.Factory):
    """A task: ``TaskRow(created_by=1, title="Buy milk")``."""

    class Meta:
        model = build_task_values

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
