"""The export of all that is kept of an account."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import IO, Any

import orjson
from sqlalchemy import bindparam, func, select

from app import clock
from app.audit import services as audit
from app.audit.models import Event
from app.auth import personal_tokens
from app.auth import services as accounts
from app.auth.models import Actor, MailedToken, RecoveryCode, Session, User
from app.auth.policy import HAS_SECOND_FACTOR
from app.auth.schemas import SESSION, USER
from app.extensions import db
from app.http.output import Row
from app.http.pages import Listing, Page
from app.jobs import policy as jobs_policy
from app.jobs.services import JOBS
from app.personal_data.schemas import MAILED_TOKEN
from app.tasks import policy as tasks_policy
from app.tasks.listing import TASKS
from app.transactions import commit, snapshot

# How many rows of a list are in memory at once.
CHUNK = 200

# Unlike the list of sessions, with those that are over.
SESSIONS = Listing(
    name="all sessions",
    schema=SESSION,
    row_id=Session.id,
    scope=Session.user_id == bindparam("user_id"),
    sorts={"created_at": Session.created_at},
    filters={},
)
MAILED_TOKENS = Listing(
    name="mailed tokens",
    schema=MAILED_TOKEN,
    row_id=MailedToken.id,
    scope=MailedToken.user_id == bindparam("user_id"),
    sorts={"created_at": MailedToken.created_at},
    filters={},
)


def export_data(actor: Actor, file: IO[bytes]) -> None:
    """Write all of the actor's data into ``file`` as a JSON object, as it is at one moment."""
    with snapshot():
        for piece in _document(actor):
            file.write(piece)
    audit.record(Event.data_exported, user_id=actor.id, actor_id=actor.id)
    commit()


def _document(actor: Actor) -> Iterator[bytes | memoryview]:
    """Yield the object piece by piece."""
    yield _json(_head(actor)).removesuffix(b"}")
    for name, read in _lists(actor).items():
        yield b',"%b":[' % name.encode()
        for number, rows in enumerate(_chunks(read)):
            yield b"," if number else b""
            yield memoryview(_json(rows))[1:-1]
        yield b"]"
    yield b"}"


def _head(actor: Actor) -> Row:
    enabled = select(HAS_SECOND_FACTOR).where(User.id == actor.id)
    codes = select(func.count()).where(RecoveryCode.user_id == actor.id)
    return {
        "exported_at": clock.now(),
        "account": USER.from_model(accounts.get_account(actor)),
        "second_factor": {
            "enabled": db.session.scalar(enabled),
            "recovery_codes_left": db.session.scalar(codes),
        },
    }


def _lists(actor: Actor) -> Mapping[str, Callable[..., Page]]:
    mine = {"user_id": actor.id}
    return {
        "sessions": partial(_read_sessions, actor),
        "personal_tokens": partial(personal_tokens.TOKENS.page, values=mine),
        "mailed_tokens": partial(MAILED_TOKENS.page, values=mine),
        "jobs": partial(JOBS.page, values=jobs_policy.owned_by(actor)),
        "tasks": partial(TASKS.page, values=tasks_policy.listed_for(actor, None)),
        "audit_events": partial(audit.EVENTS.page, values=mine),
    }


def _read_sessions(actor: Actor, **place: Any) -> Page:
    return accounts.mark_current(actor, SESSIONS.page(values={"user_id": actor.id}, **place))


def _chunks(read: Callable[..., Page]) -> Iterator[list[Row]]:
    cursor = None
    while True:
        page = read(sort="created_at", limit=CHUNK, cursor=cursor, bound_to="export")
        if page.rows:
            yield list(page.rows)
        if (cursor := page.next_cursor) is None:
            return


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
