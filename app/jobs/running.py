"""What does the jobs that users ask for, and tells of those that it can't do."""

from sqlalchemy import select

from app.errors import InternalError
from app.extensions import db
from app.jobs import exports, files, imports
from app.jobs.models import File, Job, Kind, State
from app.jobs.progress import finish, note, step
from app.outbox import work

RUN = {Kind.export: exports.run, Kind.import_: imports.run}


def hand_over(job_id: int) -> None:
    """Have a job done soon after the commit of the transaction at hand."""
    work.enqueue("job", job_id=job_id)


def note_failure(*, final: bool, job_id: int) -> None:
    """Tell that an attempt failed, or the job with it; what was imported stays, and is told."""
    if not final:
        note(job_id, state=State.retrying)
    elif (job := _unfinished(job_id)) is not None:
        if job.kind == Kind.import_:
            imports.close_report(job_id)
        else:
            files.remove(job_id, File.result)
        finish(job_id, InternalError())


@work.job("job", on_failure=note_failure)
def run(job_id: int) -> None:
    """Do a job, unless that was done or its owner is gone."""
    job = _unfinished(job_id)
    if job is None:
        return
    with step():
        note(job_id, state=State.running)
    RUN[Kind(job.kind)](job_id, job.user_id, job.format)


def _unfinished(job_id: int) -> Job | None:
    found = select(Job).where(Job.id == job_id, Job.finished_at.is_(None))
    return db.session.scalar(found.execution_options(populate_existing=True))
