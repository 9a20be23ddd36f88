"""The rules of exports and imports."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

from sqlalchemy import bindparam, delete, func, or_, select

from app import clock
from app.auth.models import Actor, User
from app.errors import Conflict, NotFound
from app.extensions import db
from app.http.output import Row
from app.http.pages import Listing, Page
from app.jobs import files, policy, running
from app.jobs.models import File, Format, Job, Kind, State
from app.jobs.schemas import JOB
from app.statements import Query
from app.transactions import commit

# How many jobs of an account may be unfinished at once, and how many finished ones are kept.
MOST_UNFINISHED = 10
MOST_FINISHED = 20
# How many jobs are deleted in one transaction: each may have a long file.
PURGED_AT_ONCE = 10

JOBS = Listing(
    name="jobs",
    schema=JOB,
    row_id=Job.id,
    scope=policy.OWN,
    sorts={"created_at": Job.created_at},
    filters={
        "kind": Job.kind.in_(bindparam("kind", expanding=True)),
        "state": Job.state.in_(bindparam("state", expanding=True)),
    },
)

_one = (Job.id == bindparam("job_id"), policy.OWN)
READ = Query(select(*JOB.columns).where(*_one), shown=True)
RESULT = Query(select(Job.kind, Job.format, Job.result_bytes).where(*_one))
UNFINISHED = select(func.count()).where(policy.OWN, Job.finished_at.is_(None))
SURPLUS = (
    select(Job.id)
    .where(policy.OWN, Job.finished_at.is_not(None))
    .order_by(Job.created_at.desc(), Job.id.desc())
    .offset(MOST_FINISHED)
)
# Whoever else asks for a job for the same account waits; whoever creates a task for it does not.
LOCK_OWNER = (
    select(User.id)
    .where(User.id == bindparam("actor_id"))
    .with_for_update(key_share=True)
    .execution_options(locks_rows=True)
)


@dataclass(frozen=True)
class Result:
    """A file that a job has made: of what kind, how long, and its pieces as they are read."""

    job_id: int
    kind: Kind
    format: Format
    length: int
    pieces: Iterator[bytes]


def create_export(actor: Actor, *, format: str) -> Job:  # noqa: A002  # as the contract names it
    """Have all of the actor's tasks written to a file.

    Raises Conflict where too many jobs are unfinished.
    """
    job = _new_job(actor, Kind.export, format)
    return commit(job)


def create_import(actor: Actor, *, format: Format, file: IO[bytes]) -> Job:  # noqa: A002
    """Have the tasks of a file created.

    Raises Conflict where too many jobs are unfinished.
    """
    job = _new_job(actor, Kind.import_, format)
    files.store(job.id, File.upload, file)
    return commit(job)


def list_jobs(
    actor: Actor, *, filters: Mapping[str, Any], sort: str, limit: int, cursor: str | None
) -> Page:
    """Return a page of the actor's jobs. Raises InvalidCursor for a cursor of another list."""
    return JOBS.page(
        values={**policy.owned_by(actor), **filters},
        filters=filters.keys(),
        sort=sort,
        limit=limit,
        cursor=cursor,
        bound_to=(actor.id, sorted(filters.items())),
    )


def read_job(actor: Actor, job_id: int) -> Row:
    """Return one job of the actor's. Raises NotFound."""
    found = READ.first({"job_id": job_id, **policy.owned_by(actor)})
    if found is None:
        raise NotFound
    return JOB.from_row(found)


def read_result(actor: Actor, job_id: int) -> Result:
    """Return the file of one job of the actor's.

    Raises NotFound, also where there is no file, or none yet.
    """
    found = RESULT.first({"job_id": job_id, **policy.owned_by(actor)})
    if found is None:
        raise NotFound
    kind, name, length = found
    if length is None:
        raise NotFound("The job has no result, or none yet; its state tells.")
    return Result(job_id, Kind(kind), Format(name), length, files.send(job_id, File.result))


def purge(*, days: int) -> int:
    """Delete the jobs that ended so many days ago, with their files; return how many they were.

    One that has not ended since then never will.
    """
    oldest = clock.now() - timedelta(days=days)
    ended = or_(Job.finished_at < oldest, Job.finished_at.is_(None) & (Job.created_at < oldest))
    some = select(Job.id).where(ended).limit(PURGED_AT_ONCE)
    total = 0
    while gone := _delete(some):
        total += gone
        commit()
    return total


def _new_job(actor: Actor, kind: Kind, name: str) -> Job:
    """Add a job to the transaction at hand, and take those away that are too many."""
    given = policy.owned_by(actor)
    db.session.execute(LOCK_OWNER, given)
    if (db.session.scalar(UNFINISHED, given) or 0) >= MOST_UNFINISHED:
        raise Conflict(f"{MOST_UNFINISHED} jobs are unfinished; wait for one of them.")
    _delete(SURPLUS, given)
    job = Job(
        user_id=actor.id,
        kind=kind,
        format=name,
        state=State.queued,
        done=0,
        refused=0,
        created_at=clock.now(),
    )
    db.session.add(job)
    db.session.flush()
    running.hand_over(job.id)
    return job


def _delete(chosen: Any, given: Mapping[str, Any] | None = None) -> int:
    """Delete jobs, and by that their files; return how many they were."""
    gone = db.session.connection().execute(delete(Job).where(Job.id.in_(chosen)), given)
    return gone.rowcount
