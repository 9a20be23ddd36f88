"""Rows to put into the database without the API, for tests of what lies beneath it."""

from datetime import UTC, datetime

import factory

from app.tasks.models import task_values

MOMENT = datetime(2030, 1, 31, 9, tzinfo=UTC)


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
