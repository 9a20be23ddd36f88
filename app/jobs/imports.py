"""Imports: tasks created from the rows of an uploaded file, and a report of the others.

The whole file is read once before anything is written, so an unreadable file imports nothing.
Then one transaction per batch stores its tasks, its part of the report and the progress, so a
retry continues after the last complete batch.
"""

from functools import partial
from itertools import islice
from typing import IO, NamedTuple

import orjson
from sqlalchemy import Row, insert, select

from app import clock
from app.auth.models import Actor, User
from app.errors import Problem
from app.extensions import db
from app.jobs import files
from app.jobs.formats import READERS
from app.jobs.formats.base import NotRead, OpenFile, Reader, unreadable
from app.jobs.models import FileFormat, Job, JobFile
from app.jobs.progress import checkpoint, end_job, update_progress
from app.jobs.reports import Batch, Summary, read_batches
from app.tasks.models import Task
from app.tasks.services import new_rows

# Counting this many rows takes less than a lease.
COUNT_BATCH_SIZE = 20_000
# Limits of the report. More invalid rows end the import; skipped ones are then only counted.
MAX_INVALID_ROWS = 100_000
MAX_ENTRIES = 200_000
# Rows that a dry run reads: it holds a thread of the server meanwhile.
MAX_DRY_RUN_ROWS = 10_000


class Import(NamedTuple):
    """A running import."""

    job_id: int
    user_id: int
    time_zone: str
    reader: Reader

    @property
    def open_file(self) -> OpenFile:
        return partial(files.open_file, self.job_id, JobFile.upload)


def run(job_id: int, user_id: int, name: str) -> None:
    """Import the remaining rows of a file and finish the job; an unreadable file fails it."""
    zone = db.session.scalar(select(User.time_zone).where(User.id == user_id))
    running = Import(job_id, user_id, zone or "UTC", READERS[name])
    try:
        _count_rows(running)
    except Problem as problem:
        with checkpoint():
            end_job(job_id, problem)
    else:
        _import_rows(running)


def dry_run(actor: Actor, *, format: FileFormat, file: IO[bytes]) -> Summary:  # noqa: A002
    """Return what an import of a file would do, and change nothing.

    Raises MalformedJson or ValidationFailed if the file is unreadable.
    """
    reader, summary = READERS[format], Summary()
    rows = reader.rows(partial(files.reopen, file), summary.not_read)
    for batch in read_batches(reader, islice(rows, MAX_DRY_RUN_ROWS), actor.time_zone):
        summary.add(batch)
    summary.complete = next(rows, None) is None
    return summary


def close_report(job_id: int) -> None:
    """Add the beginning and the end of the report around its rows."""
    job = _progress(job_id)
    counts = {
        "created": job.done - job.refused - job.skipped,
        "refused": job.refused,
        "skipped": job.skipped,
        "not_read": job.not_read,
    }
    beginning = orjson.dumps(counts).removesuffix(b"}") + b',"rows":['
    files.add_piece(job_id, JobFile.result, 0, beginning)
    files.add_piece(job_id, JobFile.result, job.done + 1, b"]}\n")


def _progress(job_id: int) -> Row[int, int, int, int | None, dict[str, int]]:
    columns = (Job.done, Job.refused, Job.skipped, Job.total, Job.not_read)
    return db.session.execute(select(*columns).where(Job.id == job_id)).one()


def _count_rows(running: Import) -> None:
    """Read the whole file, unless an earlier attempt did. Raises Problem if it is unreadable."""
    if _progress(running.job_id).total is not None:
        return
    total, outside = 0, NotRead()
    for total, _ in enumerate(running.reader.rows(running.open_file, outside), start=1):
        if total % COUNT_BATCH_SIZE == 0:
            with checkpoint():
                pass
    with checkpoint():
        update_progress(running.job_id, total=total, not_read=outside)


def _import_rows(running: Import) -> None:
    processed, refused, skipped, _, counts = _progress(running.job_id)
    not_read = NotRead(counts)
    rows = running.reader.rows(running.open_file, NotRead())
    for batch in read_batches(running.reader, rows, running.time_zone, processed=processed):
        not_read.merge(batch.not_read)
        with checkpoint():
            _store(running, batch, processed, refused + skipped)
            processed += len(batch)
            refused += len(batch.refused)
            skipped += len(batch.skipped)
            progress = {"refused": refused, "skipped": skipped, "not_read": not_read}
            update_progress(running.job_id, done=processed, **progress)
        if refused > MAX_INVALID_ROWS:
            break
    too_many = f"More than {MAX_INVALID_ROWS} rows are invalid; the rest of the file was not read."
    with checkpoint():
        close_report(running.job_id)
        end_job(running.job_id, unreadable(too_many) if refused > MAX_INVALID_ROWS else None)


def _store(running: Import, batch: Batch, processed: int, entries_before: int) -> None:
    if batch.tasks:
        rows = new_rows(running.user_id, running.time_zone, batch.tasks, clock.now())
        db.session.execute(insert(Task), rows)
    if entries := batch.entries if entries_before < MAX_ENTRIES else batch.refused:
        text = b",\n".join(map(orjson.dumps, entries))
        piece = b",\n" + text if entries_before else text
        files.add_piece(running.job_id, JobFile.result, processed + 1, piece)
