"""The tables of jobs that users ask for, and of the files that these take and give."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Model, RowId, Word, keyset


class Kind(StrEnum):
    """What a user may have done in the background."""

    export = "export"
    import_ = "import"


class Format(StrEnum):
    """What a file of tasks is written in."""

    json = "json"
    csv = "csv"
    icalendar = "icalendar"
    todoist = "todoist"


class State(StrEnum):
    """How far a job is."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    retrying = "retrying"


class File(StrEnum):
    """The two files that a job may have."""

    upload = "upload"
    result = "result"


class Job(Model):
    """Work that a user asked for: ``done`` of ``total`` rows, of which some were ``refused``.

    Its result, once there is one, is a file of ``result_bytes``.
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
        *keyset("jobs", "user_id", "created_at"),
        Index("ix_jobs_finished_at", "finished_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    user_id: Mapped[int] = mapped_column(RowId, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Word)
    format: Mapped[str] = mapped_column(Word)
    state: Mapped[str] = mapped_column(Word)
    done: Mapped[int]
    total: Mapped[int | None]
    refused: Mapped[int]
    result_bytes: Mapped[int | None]
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class FilePiece(Model):
    """A piece of a job's file; the pieces in the order of their numbers are the file."""

    __tablename__ = "file_pieces"

    job_id: Mapped[int] = mapped_column(
        RowId, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    file: Mapped[str] = mapped_column(Word, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
