"""Models of jobs and their files."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Model
from app.db.ddl import keyset_index
from app.db.types import BigIntId, StringEnum


class JobKind(StrEnum):
    """The direction of a job."""

    export = "export"
    import_ = "import"


class FileFormat(StrEnum):
    """The format of a file of tasks."""

    json = "json"
    csv = "csv"
    icalendar = "icalendar"
    todoist = "todoist"
    ticktick = "ticktick"
    taskwarrior = "taskwarrior"
    google_tasks = "google_tasks"
    microsoft_todo = "microsoft_todo"
    trello = "trello"
    vikunja = "vikunja"


class JobState(StrEnum):
    """The state of a job."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    retrying = "retrying"


class JobFile(StrEnum):
    """The files that a job may have."""

    upload = "upload"
    result = "result"


class Job(Model):
    """An export or import.

    ``done`` of ``total`` rows are processed, of which ``refused`` were invalid and ``skipped`` were
    not tasks. ``not_read`` is the number of rows by the name of each part that was not imported.
    ``result_bytes`` is the length of the result file, if there is one.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("kind IN ('export', 'import')", name="kind"),
        CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'retrying')", name="state"
        ),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('succeeded', 'failed'))", name="finished_at"
        ),
        *keyset_index("jobs", "user_id", "created_at"),
        Index("ix_jobs_finished_at", "finished_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigIntId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigIntId, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(StringEnum)
    format: Mapped[str] = mapped_column(StringEnum)
    state: Mapped[str] = mapped_column(StringEnum, default=JobState.queued)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    refused: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(server_default="0", default=0)
    not_read: Mapped[dict[str, int]] = mapped_column(JSON, server_default="{}", default=dict)
    result_bytes: Mapped[int | None]
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class FilePiece(Model):
    """A piece of a job's file, which is all pieces in the order of their numbers."""

    __tablename__ = "file_pieces"

    job_id: Mapped[int] = mapped_column(
        BigIntId, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    file: Mapped[str] = mapped_column(StringEnum, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
