"""Safe retries: the first response to an ``Idempotency-Key`` is stored and replayed.

After Stripe's API and draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

from flask import Response, g, request
from sqlalchemy import column, delete, func, select, table
from sqlalchemy.exc import IntegrityError

from app import clock
from app.api.http import require_acceptable, require_declared_query
from app.api.models import IdempotencyRecord
from app.api.operation_meta import View, annotate
from app.api.parsing import read_body
from app.db.engine import for_key_share
from app.db.transactions import begin, commit, defer_commit, delete_expired
from app.errors import (
    BadRequest,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    Problem,
    TokenRevoked,
)
from app.errors.handlers import render
from app.extensions import db

RETENTION = timedelta(hours=24)
KEY_RE = re.compile(r"[!-~]{1,255}")
USERS = table("users", column("id"))
STORED_HEADERS = ("Content-Type", "ETag", "Location")


@dataclass(frozen=True)
class IdempotentRequest:
    """A user's key, and the fingerprint of the request that it was sent with."""

    user_id: int
    key: str
    fingerprint: bytes

    def find(self) -> Response | None:
        """Return the stored response, if any.

        Raises IdempotencyKeyReused if it is that of another request.
        """
        record = db.session.get(IdempotencyRecord, (self.user_id, self.key))
        if record is None or record.created_at <= clock.now() - RETENTION:
            return None
        if record.fingerprint != self.fingerprint:
            raise IdempotencyKeyReused
        headers = {**record.headers, "Idempotent-Replayed": "true"}
        return Response(record.body, record.status, headers)

    def lock(self) -> None:
        """Begin the transaction. Raises IdempotencyInProgress while the first request runs.

        The user is locked first: the record refers to it, and is stored last. Raises TokenRevoked
        if the user was deleted in the meantime. SQLite needs no locks: its writers wait for each
        other, and the second finds the record.
        """
        begin()
        if db.engine.dialect.name == "postgresql":
            name = func.hashtextextended(f"idempotency {self.user_id} {self.key}", 0)
            lock = select(func.pg_try_advisory_xact_lock(name)).where(USERS.c.id == self.user_id)
            is_first = db.session.scalar(for_key_share(lock))
            if is_first is None:
                raise TokenRevoked
            if not is_first:
                raise IdempotencyInProgress

    def store(self, response: Response) -> None:
        """Store the response in the current transaction, and delete the user's expired ones."""
        db.session.execute(
            delete(IdempotencyRecord).where(
                IdempotencyRecord.user_id == self.user_id,
                IdempotencyRecord.created_at <= clock.now() - RETENTION,
            )
        )
        headers = {
            name: response.headers[name] for name in STORED_HEADERS if name in response.headers
        }
        db.session.add(
            IdempotencyRecord(
                user_id=self.user_id,
                key=self.key,
                fingerprint=self.fingerprint,
                status=response.status_code,
                headers=headers,
                body=response.get_data(),
                created_at=clock.now(),
            )
        )


def idempotent(view: View) -> View:
    """Give a request with an ``Idempotency-Key`` its effect once.

    It stands below ``arguments``: what fails validation is not stored, so that the corrected
    request can use the same key.
    """

    @wraps(view)
    def once(actor: Any, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(actor, *args, **kwargs)
        # What is rejected before the service runs does not use the key.
        require_acceptable()
        require_declared_query()
        if not KEY_RE.fullmatch(key):
            raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.")
        keyed = IdempotentRequest(actor.id, key, _fingerprint())
        try:
            return keyed.find() or _first(keyed, view, actor, *args, **kwargs)
        except IntegrityError:
            # Another request with the same key was committed in the meantime.
            db.session.rollback()
            if response := keyed.find():
                return response
            raise

    problems = (BadRequest, IdempotencyInProgress, IdempotencyKeyReused)
    return annotate(once, *problems, accepts_idempotency_key=True)


def use_body_digest(digest: bytes) -> None:
    """Let ``digest`` stand for the body of this request, which is too large for memory."""
    g.body_digest = digest


def purge() -> int:
    """Delete expired records, and return their number."""
    return delete_expired(IdempotencyRecord.created_at, clock.now() - RETENTION)


def _first(keyed: IdempotentRequest, view: View, *args: Any, **kwargs: Any) -> Response:
    """Run the view and store its response in the same transaction."""
    keyed.lock()
    try:
        with defer_commit():
            response: Response = view(*args, **kwargs)
    except Problem as problem:
        db.session.rollback()
        if problem.status < 500:
            keyed.store(render(problem))
            commit()
        raise
    keyed.store(response)
    commit()
    return response


def _fingerprint() -> bytes:
    path = f"{request.path.rstrip('/')}?{request.query_string.decode('latin-1')}"
    digest = hashlib.sha256(f"{request.method} {path}\n".encode())
    digest.update(g.get("body_digest") or read_body(request))
    return digest.digest()
