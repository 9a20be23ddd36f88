"""Exports: all tasks of a user, written to a file page by page.

Tasks are sorted by creation, which no update changes, so each one that exists throughout is
written exactly once.
"""

from collections.abc import Iterator
from typing import Any

from app.auth.models import Actor, Role
from app.db.pagination import all_pages
from app.jobs import files
from app.jobs.formats import WRITERS
from app.jobs.models import JobFile
from app.jobs.progress import checkpoint, end_job, update_progress
from app.tasks import permissions
from app.tasks.listing import TASKS
from app.tasks.schemas import TaskSchema
from app.tasks.services import count_tasks

# Tasks in memory at once.
BATCH_SIZE = 500
TASK_SCHEMA = TaskSchema()


def run(job_id: int, user_id: int, name: str) -> None:
    """Write the file from the start and finish the job."""
    with checkpoint():
        files.remove(job_id, JobFile.result)
        update_progress(job_id, done=0, total=count_tasks(user_id))
    writer = WRITERS[name]()
    buffer, processed, pieces = bytearray(writer.header), 0, 0
    for tasks in _pages(user_id):
        for task in tasks:
            buffer += writer.separator if processed else b""
            buffer += writer.write(task)
            processed += 1
        if len(buffer) >= files.PIECE_SIZE:
            with checkpoint():
                files.add_piece(job_id, JobFile.result, pieces, bytes(buffer))
                update_progress(job_id, done=processed)
            buffer, pieces = bytearray(), pieces + 1
    buffer += writer.footer
    with checkpoint():
        files.add_piece(job_id, JobFile.result, pieces, bytes(buffer))
        update_progress(job_id, done=processed, total=processed)
        end_job(job_id)


def _pages(user_id: int) -> Iterator[list[dict[str, Any]]]:
    values = permissions.can_list_params(Actor(user_id, Role.user, "UTC"), None)
    params = {"values": values, "sort": "created_at", "limit": BATCH_SIZE, "context": "export"}
    for page in all_pages(TASKS.page, **params):
        yield TASK_SCHEMA.dump(page.rows, many=True)
