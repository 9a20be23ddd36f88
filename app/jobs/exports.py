"""Exports: all of an account's tasks, written page by page into pieces of a file.

Tasks come in the order of their creation, which no change moves them in; so each that was there
throughout is written once.
"""

from collections.abc import Iterator

from app.auth.models import Actor, Role
from app.http.output import Row
from app.jobs import files
from app.jobs.formats import WRITERS
from app.jobs.models import File, State
from app.jobs.progress import finish, note, step
from app.tasks import policy
from app.tasks.listing import TASKS
from app.tasks.services import count_tasks

# How many tasks are in memory at once.
CHUNK = 500


def run(job_id: int, owner_id: int, name: str) -> None:
    """Write the file from its beginning, whatever an earlier attempt left, and finish the job."""
    with step():
        files.remove(job_id, File.result)
        note(job_id, state=State.running, done=0, total=count_tasks(owner_id))
    writer = WRITERS[name]()
    held, done, pieces = bytearray(writer.begin), 0, 0
    for tasks in _pages(owner_id):
        for task in tasks:
            held += writer.between if done else b""
            held += writer.write(task)
            done += 1
        if len(held) >= files.SIZE:
            with step():
                files.add(job_id, File.result, pieces, bytes(held))
                note(job_id, done=done)
            held, pieces = bytearray(), pieces + 1
    held += writer.end
    with step():
        files.add(job_id, File.result, pieces, bytes(held))
        note(job_id, done=done, total=done)
        finish(job_id)


def _pages(owner_id: int) -> Iterator[list[Row]]:
    values = policy.listed_for(Actor(owner_id, Role.user, "UTC"), None)
    cursor = None
    while True:
        page = TASKS.page(
            values=values, sort="created_at", limit=CHUNK, cursor=cursor, bound_to="export"
        )
        yield list(page.rows)
        if (cursor := page.next_cursor) is None:
            return
