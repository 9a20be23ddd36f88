"""How a service ends: with its commit, and with what must be kept together with its effect."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from app.extensions import db

Result = TypeVar("Result")
_LISTENERS = "before_commit"


@overload
def commit() -> None: ...
@overload
def commit(result: Result) -> Result: ...
def commit(result: Any = None) -> Any:
    """Commit, as the last act of a service, and return what the service gives.

    Whoever asked for it with ``before_commit`` is told the result first, in the same transaction.
    """
    db.session.flush()
    for listener in db.session.info.pop(_LISTENERS, []):
        listener(result)
    db.session.commit()
    return result


def before_commit(listener: Callable[[Any], None]) -> None:
    """Have ``listener`` called with the result of the next service that commits."""
    db.session.info.setdefault(_LISTENERS, []).append(listener)
