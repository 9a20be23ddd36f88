"""The outbox handler that runs exports and imports."""

from flask import Flask
from sqlalchemy import select

from app.errors import InternalError
from app.extensions import db
from app.jobs import exports, files, imports
from app.jobs.models import Job, JobFile, JobKind, JobState
from app.jobs.progress import checkpoint, end_job, lock_owner, update_progress
from app.outbox.queue import handler

RUNNERS = {JobKind.export: exports.run, JobKind.import_: imports.run}


def run(job_id: int) -> None:
    """Run a job, unless it is finished. It may be deleted with its owner at any time."""
    job = _unfinished(job_id)
    if job is None:
        return
    try:
        with checkpoint():
            update_progress(job_id, state=JobState.running)
        RUNNERS[JobKind(job.kind)](job_id, job.user_id, job.format)
    except Exception:
        db.session.rollback()
        if _unfinished(job_id) is not None:
            raise


def record_failure(*, final: bool, job_id: int) -> None:
    """Record a failed attempt; the last one fails the job. Imported tasks stay and are reported."""
    lock_owner(job_id)
    if not final:
        update_progress(job_id, state=JobState.retrying)
    elif (job := _unfinished(job_id)) is not None:
        if job.kind == JobKind.import_:
            imports.close_report(job_id)
        else:
            files.remove(job_id, JobFile.result)
        end_job(job_id, InternalError())


def init_app(_app: Flask) -> None:
    """Register the handler of the messages that ``services`` enqueues."""
    handler("job", on_failure=record_failure)(run)


def _unfinished(job_id: int) -> Job | None:
    query = select(Job).where(Job.id == job_id, Job.finished_at.is_(None))
    return db.session.scalar(query.execution_options(populate_existing=True))
