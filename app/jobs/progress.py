"""How a job goes on: each step is a transaction that only whoever holds the job can commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import update

from app import clock
from app.errors import Problem
from app.extensions import db
from app.jobs import files
from app.jobs.models import File, Job, State
from app.origin import origin
from app.outbox import work
from app.transactions import commit


@contextmanager
def step() -> Iterator[None]:
    """Commit what is written within, and keep the job for as long again.

    Raises Superseded where another process has taken it over.
    """
    work.extend()
    yield
    commit()


def note(job_id: int, **values: Any) -> None:
    """Write how an unfinished job is into the transaction at hand."""
    changed = update(Job).where(Job.id == job_id, Job.finished_at.is_(None)).values(values)
    db.session.connection().execute(changed)


def finish(job_id: int, problem: Problem | None = None) -> None:
    """Write into the transaction at hand that a job is over, and has a result if one was stored.

    What was uploaded is of no more use.
    """
    files.remove(job_id, File.upload)
    note(
        job_id,
        state=State.failed if problem else State.succeeded,
        problem=None if problem is None else describe(job_id, problem),
        result_bytes=files.length(job_id, File.result) or None,
        finished_at=clock.now(),
    )


def describe(job_id: int, problem: Problem) -> dict[str, Any]:
    """Return a problem as whoever reads the job meets it."""
    place = {"instance": f"/api/v1/jobs/{job_id}", "request_id": origin().request_id or ""}
    return problem.body() | place
