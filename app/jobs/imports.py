"""Imports: the rows of an upload become tasks, or are told in a report with the reasons.

Nothing is written before the whole file was read once. Then rows are taken in chunks: the tasks of
one, what was refused of it and how far it leads are one transaction. So an import that is tried
again goes on where it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from marshmallow import ValidationError
from sqlalchemy import insert, select

from app import clock
from app.auth.models import User
from app.errors import Fault, ValidationFailed
from app.extensions import db
from app.http.body import faults_of
from app.jobs import files
from app.jobs.formats import READERS
from app.jobs.formats.rows import Reader, Refused, Row, Unreadable, fault
from app.jobs.models import File, Job
from app.jobs.progress import finish, note, step
from app.tasks.models import Task
from app.tasks.schemas import CREATE_TASK
from app.tasks.services import new_rows

# How many rows are in memory at once, and how much text of theirs.
CHUNK = 500
WEIGHT = 1024 * 1024
# How many rows are counted in one step.
COUNTED = 20_000
# How much is told: of how many rows, of each how many reasons, and of a place in it how much.
MOST_REFUSED = 100_000
MOST_FAULTS = 5
LONGEST_POINTER = 100


@dataclass(frozen=True)
class Import:
    """One import at hand: whose it is, how its file is read, and that person's time zone."""

    job_id: int
    owner_id: int
    time_zone: str
    reader: Reader

    def rows(self) -> Iterator[Row]:
        return self.reader.rows(files.open_file(self.job_id, File.upload))


@dataclass
class Chunk:
    """Some rows that follow one another: the tasks among them, and what is told of the others."""

    tasks: list[Mapping[str, Any]] = field(default_factory=list)
    refused: list[Mapping[str, Any]] = field(default_factory=list)
    weight: int = 0

    @property
    def length(self) -> int:
        return len(self.tasks) + len(self.refused)

    @property
    def is_full(self) -> bool:
        return self.length >= CHUNK or self.weight >= WEIGHT


def run(job_id: int, owner_id: int, name: str) -> None:
    """Import what is left of a file, and finish the job; one that can't be read fails at once."""
    zone = db.session.scalar(select(User.time_zone).where(User.id == owner_id))
    at_hand = Import(job_id, owner_id, zone or "UTC", READERS[name])
    try:
        _count(at_hand)
    except Unreadable as error:
        with step():
            finish(job_id, error.problem)
    else:
        _import(at_hand)


def close_report(job_id: int) -> None:
    """Put what stands around the refused rows into the transaction at hand."""
    done, refused, _ = _progress(job_id)
    counts = f'{{"created":{done - refused},"refused":{refused},"rows":['
    files.add(job_id, File.result, 0, counts.encode())
    files.add(job_id, File.result, done + 1, b"]}\n")


def _progress(job_id: int) -> tuple[int, int, int | None]:
    found = select(Job.done, Job.refused, Job.total).where(Job.id == job_id)
    done, refused, total = db.session.execute(found).one()
    return done, refused, total


def _count(at_hand: Import) -> None:
    """Read the whole file, unless an earlier attempt did. Raises Unreadable."""
    if _progress(at_hand.job_id)[2] is not None:
        return
    total = 0
    for total, _ in enumerate(at_hand.rows(), start=1):
        if total % COUNTED == 0:
            with step():
                pass
    with step():
        note(at_hand.job_id, total=total)


def _import(at_hand: Import) -> None:
    done, refused, _ = _progress(at_hand.job_id)
    for chunk in _chunks(at_hand, done):
        with step():
            _store(at_hand, chunk, done, refused)
            done += chunk.length
            refused += len(chunk.refused)
            note(at_hand.job_id, done=done, refused=refused)
        if refused > MOST_REFUSED:
            break
    told = fault(f"More than {MOST_REFUSED} rows are refused; what follows was not read.")
    with step():
        close_report(at_hand.job_id)
        finish(at_hand.job_id, ValidationFailed([told]) if refused > MOST_REFUSED else None)


def _chunks(at_hand: Import, done: int) -> Iterator[Chunk]:
    """Yield the rows that follow the first ``done``."""
    chunk = Chunk()
    for number, row in enumerate(islice(at_hand.rows(), done, None), start=done + 1):
        try:
            task = _task(at_hand, row)
        except Refused as error:
            told = list(map(_shortened, error.faults[:MOST_FAULTS]))
            chunk.refused.append({"row": number, "line": row.line, "errors": told})
        else:
            chunk.tasks.append(task)
            chunk.weight += len(task["title"]) + len(task["description"] or "")
        if chunk.is_full:
            yield chunk
            chunk = Chunk()
    if chunk.length:
        yield chunk


def _task(at_hand: Import, row: Row) -> Mapping[str, Any]:
    """Return what a row says of a task, as a body of the API is read. Raises Refused."""
    fields = at_hand.reader.fields(row.raw, at_hand.time_zone)
    try:
        task: Mapping[str, Any] = CREATE_TASK.load(fields)
    except ValidationError as error:
        raise Refused(list(faults_of(error.messages))) from None
    return task


def _shortened(told: Fault) -> Fault:
    """Return a fault without what would make the report as long as the file."""
    return {**told, "pointer": told["pointer"][:LONGEST_POINTER]}


def _store(at_hand: Import, chunk: Chunk, done: int, refused: int) -> None:
    if chunk.tasks:
        rows = new_rows(at_hand.owner_id, at_hand.time_zone, chunk.tasks, clock.now())
        db.session.execute(insert(Task), rows)
    if chunk.refused:
        told = b",\n".join(map(orjson.dumps, chunk.refused))
        files.add(at_hand.job_id, File.result, done + 1, b",\n" + told if refused else told)
