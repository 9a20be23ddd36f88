"""Retries that are safe: the first outcome of a keyed request is kept, and told again.

After the ``Idempotency-Key`` of Stripe's API and of draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

from flask import Response, g, request
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from app import clock, errors
from app.errors import (
    BadRequest,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    NotAcceptable,
    PayloadTooLarge,
    Problem,
    UnsupportedMediaType,
)
from app.extensions import db
from app.http.body import read_body
from app.http.context import itself
from app.http.models import KeptAnswer
from app.http.promises import View, promise
from app.transactions import before_commit, delete_older

KEPT_FOR = timedelta(hours=24)
KEY = re.compile(r"[!-~]{1,255}")
# Refusals of a request before anything of it was looked at: corrected, it is still the first.
NOT_BEGUN = (NotAcceptable, PayloadTooLarge, UnsupportedMediaType)
KEPT_HEADERS = ("Content-Type", "ETag", "Location")


@dataclass(frozen=True)
class Claim:
    """One account's key, and what it is used for."""

    user_id: int
    key: str
    fingerprint: bytes

    def kept(self) -> Response | None:
        """Return the outcome that was kept, if any.

        Raises IdempotencyKeyReused where it is that of another request.
        """
        found = db.session.get(KeptAnswer, (self.user_id, self.key))
        if found is None or found.created_at <= clock.now() - KEPT_FOR:
            return None
        if found.fingerprint != self.fingerprint:
            raise IdempotencyKeyReused
        return Response(found.body, found.status, {**found.headers, "Idempotent-Replayed": "true"})

    def begin(self) -> None:
        """Begin the transaction of the effect. Raises IdempotencyInProgress where one is under way.

        SQLite needs no lock of ours: its writers wait for one another, and the second finds the
        outcome of the first.
        """
        if db.engine.dialect.name != "postgresql":
            return
        name = func.hashtextextended(f"idempotency {self.user_id} {self.key}", 0)
        lock = select(func.pg_try_advisory_xact_lock(name)).execution_options(locks_rows=True)
        if not db.session.scalar(lock):
            raise IdempotencyInProgress

    def keep(self, answer: Response) -> None:
        """Keep the outcome in the transaction under way, instead of those that are too old."""
        db.session.execute(
            delete(KeptAnswer).where(
                KeptAnswer.user_id == self.user_id,
                KeptAnswer.created_at <= clock.now() - KEPT_FOR,
            )
        )
        headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        db.session.add(
            KeptAnswer(
                user_id=self.user_id,
                key=self.key,
                fingerprint=self.fingerprint,
                status=answer.status_code,
                headers=headers,
                body=answer.get_data(),
                created_at=clock.now(),
            )
        )


def purge() -> int:
    """Delete the outcomes that are too old to be told again, and return how many they were."""
    return delete_older(KeptAnswer.created_at, clock.now() - KEPT_FOR)


def idempotent(view: View) -> View:
    """Let a keyed request have its effect once; it stands behind the door, and gets the Actor."""

    @wraps(view)
    def once(actor: Any, *args: Any, **kwargs: Any) -> Any:
        key = itself(request).environ.get("HTTP_IDEMPOTENCY_KEY")
        if key is None:
            return view(actor, *args, **kwargs)
        if not KEY.fullmatch(key):
            raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.")
        claim = Claim(actor.id, key, _fingerprint())
        try:
            return claim.kept() or _first(claim, view, actor, *args, **kwargs)
        except IntegrityError:
            # Another request with the key was committed since we looked.
            db.session.rollback()
            if kept := claim.kept():
                return kept
            raise

    problems = (BadRequest, IdempotencyInProgress, IdempotencyKeyReused)
    return promise(once, *problems, takes_key=True)


def represent_body(digest: bytes) -> None:
    """Have ``digest`` stand for the body of this request, which is not to be held as a whole."""
    g.body_digest = digest


def keep_answer(render: Callable[[Any], Response]) -> None:
    """Keep what ``render`` makes of the service's result, if this request has a key."""
    claim: Claim | None = itself(g).get("claim")
    if claim is not None:
        before_commit(lambda result: claim.keep(render(result)))


def _first(claim: Claim, view: View, *args: Any, **kwargs: Any) -> Any:
    claim.begin()
    g.claim = claim
    try:
        return view(*args, **kwargs)
    except Problem as problem:
        db.session.rollback()
        if problem.status < 500 and not isinstance(problem, NOT_BEGUN):
            claim.keep(errors.render(problem))
            db.session.commit()
        raise


def _fingerprint() -> bytes:
    path = f"{request.path.rstrip('/')}?{request.query_string.decode('latin-1')}"
    told = hashlib.sha256(f"{request.method} {path}\n".encode())
    told.update(g.get("body_digest") or read_body())
    return told.digest()
