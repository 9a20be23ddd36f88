"""Services of exports and imports."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import IO, Any, NamedTuple

from sqlalchemy import Select, bindparam, delete, func, or_, select

from app import clock
from app.auth.models import Actor, User
from app.db.compiled import CompiledSelect
from app.db.engine import for_update
from app.db.pagination import KeysetPaginator, Page
from app.db.transactions import commit
from app.errors import Conflict, NotFound
from app.extensions import db
from app.jobs import files, permissions
from app.jobs.models import FileFormat, Job, JobFile, JobKind
from app.outbox.queue import enqueue

MAX_UNFINISHED = 10
MAX_FINISHED = 20
# Jobs deleted in one transaction: each may have a long file.
PURGE_BATCH_SIZE = 10

JOBS = KeysetPaginator(
    name="jobs",
    columns=tuple(Job.__table__.c),
    row_id=Job.id,
    scope=permissions.OWN,
    sorts={"created_at": Job.created_at},
    filters={
        "kind": Job.kind.in_(bindparam("kind", expanding=True)),
        "state": Job.state.in_(bindparam("state", expanding=True)),
    },
)

_one = (Job.id == bindparam("job_id"), permissions.OWN)
READ = CompiledSelect(select(Job.__table__).where(*_one), json_ready=True)
RESULT = CompiledSelect(select(Job.kind, Job.format, Job.result_bytes).where(*_one))
UNFINISHED = select(func.count()).where(permissions.OWN, Job.finished_at.is_(None))
SURPLUS = (
    select(Job.id)
    .where(permissions.OWN, Job.finished_at.is_not(None))
    .order_by(Job.created_at.desc(), Job.id.desc())
    .offset(MAX_FINISHED)
)
# Serializes the creation of a user's jobs; ``key_share`` leaves room for inserts of tasks.
LOCK_OWNER = for_update(select(User.id).where(User.id == bindparam("actor_id")), key_share=True)


class Result(NamedTuple):
    """The result file of a job."""

    kind: JobKind
    format: FileFormat
    length: int
    content: Iterator[bytes]


def create_export(actor: Actor, *, format: str) -> Job:  # noqa: A002  # as the contract names it
    """Create a job that writes all tasks of the actor to a file.

    Raises Conflict if too many jobs are unfinished.
    """
    return commit(_create_job(actor, JobKind.export, format))


def create_import(actor: Actor, *, format: FileFormat, file: IO[bytes]) -> Job:  # noqa: A002
    """Create a job that creates tasks from a file.

    Raises Conflict if too many jobs are unfinished.
    """
    job = _create_job(actor, JobKind.import_, format)
    files.store(job.id, JobFile.upload, file)
    return commit(job)


def list_jobs(
    actor: Actor, *, filters: Mapping[str, Any], sort: str, limit: int, cursor: str | None
) -> Page:
    """Return a page of the actor's jobs. Raises InvalidCursor for a cursor of another list."""
    values = {**permissions.owned_by(actor), **filters}
    context = (actor.id, sorted(filters.items()))
    return JOBS.page(
        values=values, filters=filters, sort=sort, limit=limit, cursor=cursor, context=context
    )


def read_job(actor: Actor, job_id: int) -> dict[str, Any]:
    """Return one of the actor's jobs. Raises NotFound."""
    row: dict[str, Any] | None = READ.first({"job_id": job_id, **permissions.owned_by(actor)})
    if row is None:
        raise NotFound
    return row


def read_result(actor: Actor, job_id: int) -> Result:
    """Return the result file of one of the actor's jobs. Raises NotFound if there is none yet."""
    row = RESULT.first({"job_id": job_id, **permissions.owned_by(actor)})
    if row is None:
        raise NotFound
    kind, name, length = row
    if length is None:
        raise NotFound("The job has no result, or none yet. Check its state.")
    content = files.stream(job_id, JobFile.result)
    return Result(JobKind(kind), FileFormat(name), length, content)


def purge(*, days: int) -> int:
    """Delete jobs that finished, or were created and never finished, so many days ago."""
    limit = clock.now() - timedelta(days=days)
    is_expired = or_(Job.finished_at < limit, Job.finished_at.is_(None) & (Job.created_at < limit))
    # The deletion of a user locks its jobs in an order of its own.
    batch = for_update(select(Job.id).where(is_expired).limit(PURGE_BATCH_SIZE), skip_locked=True)
    total = 0
    while deleted := _delete(batch):
        total += deleted
        commit()
    return total


def _create_job(actor: Actor, kind: JobKind, name: str) -> Job:
    """Create and enqueue a job, and delete the actor's oldest finished ones."""
    params = permissions.owned_by(actor)
    db.session.execute(LOCK_OWNER, params)
    if (db.session.scalar(UNFINISHED, params) or 0) >= MAX_UNFINISHED:
        raise Conflict(f"{MAX_UNFINISHED} jobs are unfinished. Wait until one is finished.")
    _delete(SURPLUS, params)
    job = Job(user_id=actor.id, kind=kind, format=name, created_at=clock.now())
    db.session.add(job)
    db.session.flush()
    enqueue("job", job_id=job.id)
    return job


def _delete(job_ids: Select[int], params: Mapping[str, Any] | None = None) -> int:
    """Delete jobs and, by the foreign key, their files. Return the number of jobs."""
    statement = delete(Job).where(Job.id.in_(job_ids))
    return db.session.connection().execute(statement, params).rowcount
