"""Operation of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.errors import Problem


@dataclass(slots=True)
class Operation:
    """A requested change, and its result: the task, a problem, or neither after a deletion."""

    op: Literal["create", "update", "delete"]
    id: int | None
    version: int | None
    body: Mapping[str, Any]
    problem: Problem | None = None
    task: Mapping[str, Any] | None = None
