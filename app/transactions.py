"""How a service ends: with its commit, and with what must be kept together with its effect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from app.database import begin_snapshot
from app.extensions import db

Result = TypeVar("Result")
_LISTENERS = "before_commit"
_FOLLOWERS = "after_commit"


@overload
def commit() -> None: ...
@overload
def commit(result: Result) -> Result: ...
def commit(result: Any = None) -> Any:
    """Commit, as the last act of a service, and return what the service gives.

    Whoever asked for it with ``before_commit`` is told the result first, in the same transaction;
    whoever asked with ``after_commit`` is called when it is over.
    """
    db.session.flush()
    for listener in db.session.info.pop(_LISTENERS, []):
        listener(result)
    db.session.commit()
    for follower in db.session.info.pop(_FOLLOWERS, []):
        follower()
    return result


def before_commit(listener: Callable[[Any], None]) -> None:
    """Have ``listener`` called with the result of the next service that commits."""
    db.session.info.setdefault(_LISTENERS, []).append(listener)


def after_commit(follower: Callable[[], object]) -> None:
    """Have ``follower`` called once the next service has committed."""
    db.session.info.setdefault(_FOLLOWERS, []).append(follower)


@contextmanager
def snapshot() -> Iterator[None]:
    """Read all that is read within as of one moment; nothing is written before it ends."""
    begin_snapshot(db.session.connection())
    try:
        yield
    finally:
        db.session.rollback()
