"""Who may see jobs and their files: their owners, and nobody else."""

from sqlalchemy import bindparam

from app.auth.models import Actor
from app.jobs.models import Job

OWN = Job.user_id == bindparam("actor_id")


def owned_by(actor: Actor) -> dict[str, int]:
    """The parameters of OWN."""
    return {"actor_id": actor.id}
