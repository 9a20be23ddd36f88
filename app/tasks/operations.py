"""What a batch is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.errors import Problem
from app.tasks.models import Task


@dataclass(slots=True)
class Operation:
    """One change that was asked for, and what became of it: a task, a problem, or neither."""

    op: Literal["create", "update", "delete"]
    id: int | None
    version: int | None
    body: Mapping[str, Any]
    problem: Problem | None = None
    task: Task | None = None
