"""Progress of jobs. A job writes in several transactions, each ended by a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app
from sqlalchemy import select, update

from app import clock
from app.auth.models import User
from app.db.engine import for_key_share
from app.db.transactions import commit
from app.errors import Problem
from app.extensions import db
from app.jobs import files
from app.jobs.models import Job, JobFile, JobState
from app.outbox.leases import current_message, renew_lease
from app.request_context import request_context


class JobDeleted(Exception):
    """The job was deleted with its owner."""


@contextmanager
def checkpoint() -> Iterator[None]:
    """Commit the changes of the block and renew the lease of the job.

    Raises LeaseLost if another worker has taken over the job, JobDeleted if it was deleted.
    """
    renew_lease()
    if not lock_owner(current_message.get().payload["job_id"]):
        raise JobDeleted
    yield
    commit()


def lock_owner(job_id: int) -> bool:
    """Lock the owner of a job before the job and its files; return whether there is one."""
    owner_id = select(Job.user_id).where(Job.id == job_id).scalar_subquery()
    owner = for_key_share(select(User.id).where(User.id == owner_id))
    return db.session.scalar(owner) is not None


def update_progress(job_id: int, **values: Any) -> None:
    """Change columns of a job that is not finished."""
    statement = update(Job).where(Job.id == job_id, Job.finished_at.is_(None)).values(values)
    db.session.connection().execute(statement)


def end_job(job_id: int, problem: Problem | None = None) -> None:
    """Mark a job as succeeded or failed and delete its upload."""
    files.remove(job_id, JobFile.upload)
    request_id = request_context().request_id or ""
    origin = {
        "instance": f"{current_app.config['PUBLIC_PATH']}/api/v1/jobs/{job_id}",
        "request_id": request_id,
    }
    update_progress(
        job_id,
        state=JobState.failed if problem else JobState.succeeded,
        problem=problem and problem.to_dict(current_app.config["PUBLIC_URL"]) | origin,
        result_bytes=files.length(job_id, JobFile.result) or None,
        finished_at=clock.now(),
    )
