"""The JSON document with all data of a user."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import orjson
from marshmallow import Schema
from sqlalchemy import bindparam, func, select

from app import clock
from app.api.fields import format_datetime
from app.audit import services as audit
from app.audit.models import Event
from app.audit.schemas import AuditEventSchema
from app.auth.models import Actor, EmailToken, RecoveryCode, User
from app.auth.permissions import HAS_SECOND_FACTOR
from app.auth.schemas import PersonalTokenSchema, SessionSchema, UserSchema
from app.auth.services import account
from app.auth.services.personal_tokens import TOKENS
from app.auth.services.sessions import SESSIONS
from app.data_export.schemas import EmailTokenSchema
from app.db.pagination import KeysetPaginator, all_pages
from app.db.transactions import commit, snapshot
from app.extensions import db
from app.jobs import permissions as jobs_policy
from app.jobs.schemas import JobSchema
from app.jobs.services import JOBS
from app.tasks import permissions as tasks_policy
from app.tasks.listing import TASKS
from app.tasks.schemas import TaskSchema

# The number of rows that are in memory at once.
BATCH_SIZE = 200

# As of that time no session had ended: the list includes those that have since.
EPOCH = datetime.fromtimestamp(0, UTC)
EMAIL_TOKENS = KeysetPaginator(
    name="email tokens",
    columns=(EmailToken.purpose, EmailToken.email, EmailToken.created_at, EmailToken.expires_at),
    row_id=EmailToken.id,
    scope=EmailToken.user_id == bindparam("user_id"),
    sorts={"created_at": EmailToken.created_at},
)


def export_data(actor: Actor, file: IO[bytes]) -> None:
    """Write all data of the actor's user to ``file`` as JSON, from one snapshot of the database."""
    with snapshot():
        # Not writelines(), which would keep the whole document in memory.
        for part in _document(actor):
            file.write(part)
    audit.record_own(Event.data_exported, actor.id)
    commit()


def _document(actor: Actor) -> Iterator[bytes | memoryview]:
    """Yield the document in parts, so that only one batch of rows is in memory."""
    yield _json(_head(actor)).removesuffix(b"}")
    for name, (paginator, params, schema) in _lists(actor).items():
        yield b',"%b":[' % name.encode()
        for number, rows in enumerate(_batches(paginator, params)):
            yield b"," if number else b""
            yield memoryview(_json(schema.dump(rows, many=True)))[1:-1]
        yield b"]"
    yield b"}"


def _head(actor: Actor) -> dict[str, Any]:
    enabled = select(HAS_SECOND_FACTOR).where(User.id == actor.id)
    codes = select(func.count()).where(RecoveryCode.user_id == actor.id)
    return {
        "exported_at": format_datetime(clock.now()),
        "account": UserSchema().dump(account.get_account(actor)),
        "second_factor": {
            "enabled": db.session.scalar(enabled),
            "recovery_codes_left": db.session.scalar(codes),
        },
    }


def _lists(actor: Actor) -> Mapping[str, tuple[KeysetPaginator, Mapping[str, Any], Schema]]:
    """Return the lists by name: each with its parameters and the schema of its rows."""
    params = {"user_id": actor.id}
    session_params = {"current_id": actor.session_id, "now": EPOCH, "idle_since": EPOCH}
    return {
        "sessions": (SESSIONS, params | session_params, SessionSchema()),
        "personal_tokens": (TOKENS, params, PersonalTokenSchema()),
        "mailed_tokens": (EMAIL_TOKENS, params, EmailTokenSchema()),
        "jobs": (JOBS, jobs_policy.owned_by(actor), JobSchema()),
        "tasks": (TASKS, tasks_policy.can_list_params(actor, None), TaskSchema()),
        "audit_events": (audit.EVENTS, params, AuditEventSchema()),
    }


def _batches(paginator: KeysetPaginator, params: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    pages = all_pages(
        paginator.page, values=params, sort="created_at", limit=BATCH_SIZE, context="export"
    )
    return (page.rows for page in pages if page.rows)


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
