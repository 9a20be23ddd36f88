"""Models; users are Django's own."""

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models


class RevokedToken(models.Model):
    jti = models.CharField(max_length=64, unique=True)

    def __str__(self) -> str:
        return self.jti


class Task(models.Model):
    class Status(models.TextChoices):
        pending = "pending"
        in_progress = "in_progress"
        completed = "completed"
        cancelled = "cancelled"

    class Priority(models.IntegerChoices):
        none = 0
        low = 1
        medium = 2
        high = 3
        urgent = 4

    title = models.CharField(max_length=150)
    description = models.TextField(null=True)  # noqa: DJ001  # the API has null
    status = models.CharField(max_length=20, choices=Status, default=Status.pending)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.none)
    due_date = models.DateField(null=True)
    due_at = models.DateTimeField(null=True)
    time_zone = models.CharField(max_length=64, null=True)  # noqa: DJ001  # the API has null
    # Positions are compared byte by byte.
    position = models.CharField(max_length=255, db_collation=None if settings.IS_SQLITE else "C")
    version = models.BigIntegerField(default=1)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, db_index=False)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["created_by", "created_at", "id"], name="tasks_created"),
            models.Index(fields=["created_by", "priority", "id"], name="tasks_priority"),
            models.Index(fields=["created_by", "position"], name="tasks_position"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def deleted_at(self) -> None:
        """Always None: tasks are deleted for good."""
