"""Permissions of jobs: only the owner may see a job and its files."""

from sqlalchemy import bindparam

from app.auth.models import Actor
from app.jobs.models import Job

OWN = Job.user_id == bindparam("actor_id")


def owned_by(actor: Actor) -> dict[str, int]:
    """Return the parameters of OWN."""
    return {"actor_id": actor.id}
