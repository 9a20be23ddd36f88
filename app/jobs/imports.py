"""Imports: tasks created from the rows of an uploaded file, and a report of the invalid rows.

The whole file is read once before anything is written, so an unreadable file imports nothing.
Then one transaction per batch stores its tasks, its part of the report and the progress, so a
retry continues after the last complete batch.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import orjson
from marshmallow import ValidationError
from sqlalchemy import insert, select

from app import clock
from app.api.parsing import flatten_errors
from app.auth.models import User
from app.errors import FieldError, Problem
from app.extensions import db
from app.jobs import files
from app.jobs.formats import READERS
from app.jobs.formats.base import Reader, Row, RowError, unreadable
from app.jobs.models import Job, JobFile
from app.jobs.progress import checkpoint, end_job, update_progress
from app.tasks.models import Task
from app.tasks.schemas import CreateTaskSchema
from app.tasks.services import new_rows

# Rows in memory at once, and characters of their texts.
BATCH_SIZE = 500
MAX_BATCH_LENGTH = 1024 * 1024
# Counting this many rows takes less than a lease.
COUNT_BATCH_SIZE = 20_000
CREATE_SCHEMA = CreateTaskSchema()
# Limits of the report.
MAX_INVALID_ROWS = 100_000
MAX_ERRORS_PER_ROW = 5
MAX_POINTER_LENGTH = 100


# Consecutive rows: tasks to create, and report entries of the invalid ones.
Batch = tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]


class Import(NamedTuple):
    """A running import."""

    job_id: int
    user_id: int
    time_zone: str
    reader: Reader

    def rows(self) -> Iterator[Row]:
        return self.reader.rows(files.open_file(self.job_id, JobFile.upload))


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


def close_report(job_id: int) -> None:
    """Add the beginning and the end of the report around its rows."""
    processed, refused, _ = _progress(job_id)
    counts = f'{{"created":{processed - refused},"refused":{refused},"rows":['
    files.add_piece(job_id, JobFile.result, 0, counts.encode())
    files.add_piece(job_id, JobFile.result, processed + 1, b"]}\n")


def _progress(job_id: int) -> tuple[int, int, int | None]:
    query = select(Job.done, Job.refused, Job.total).where(Job.id == job_id)
    processed, refused, total = db.session.execute(query).one()
    return processed, refused, total


def _count_rows(running: Import) -> None:
    """Read the whole file, unless an earlier attempt did. Raises Problem if it is unreadable."""
    if _progress(running.job_id)[2] is not None:
        return
    total = 0
    for total, _ in enumerate(running.rows(), start=1):
        if total % COUNT_BATCH_SIZE == 0:
            with checkpoint():
                pass
    with checkpoint():
        update_progress(running.job_id, total=total)


def _import_rows(running: Import) -> None:
    processed, refused, _ = _progress(running.job_id)
    for tasks, invalid in _batches(running, processed):
        with checkpoint():
            _store(running, (tasks, invalid), processed, refused)
            processed += len(tasks) + len(invalid)
            refused += len(invalid)
            update_progress(running.job_id, done=processed, refused=refused)
        if refused > MAX_INVALID_ROWS:
            break
    too_many = f"More than {MAX_INVALID_ROWS} rows are invalid; the rest of the file was not read."
    with checkpoint():
        close_report(running.job_id)
        end_job(running.job_id, unreadable(too_many) if refused > MAX_INVALID_ROWS else None)


def _batches(running: Import, processed: int) -> Iterator[Batch]:
    """Yield the rows after the first ``processed``."""
    tasks, invalid, text_length = [], [], 0
    for number, row in enumerate(islice(running.rows(), processed, None), start=processed + 1):
        try:
            task = CREATE_SCHEMA.load(running.reader.fields(row.raw, running.time_zone))
        except RowError as error:
            invalid.append(_report_entry(number, row, error.errors))
        except ValidationError as error:
            invalid.append(_report_entry(number, row, flatten_errors(error.messages)))
        else:
            tasks.append(task)
            text_length += len(task["title"]) + len(task["description"] or "")
        if len(tasks) + len(invalid) >= BATCH_SIZE or text_length >= MAX_BATCH_LENGTH:
            yield tasks, invalid
            tasks, invalid, text_length = [], [], 0
    if tasks or invalid:
        yield tasks, invalid


def _report_entry(number: int, row: Row, errors: Iterable[FieldError]) -> Mapping[str, Any]:
    """Describe an invalid row, briefly: the report must not become as long as the file."""
    shortened = [
        {**error, "pointer": error["pointer"][:MAX_POINTER_LENGTH]}
        for error in islice(errors, MAX_ERRORS_PER_ROW)
    ]
    return {"row": number, "line": row.line, "errors": shortened}


def _store(running: Import, batch: Batch, processed: int, refused: int) -> None:
    tasks, invalid = batch
    if tasks:
        rows = new_rows(running.user_id, running.time_zone, tasks, clock.now())
        db.session.execute(insert(Task), rows)
    if invalid:
        entries = b",\n".join(map(orjson.dumps, invalid))
        data = b",\n" + entries if refused else entries
        files.add_piece(running.job_id, JobFile.result, processed + 1, data)
