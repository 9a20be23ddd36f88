"""What is known of the request at hand, for those who keep a record of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple


@dataclass(slots=True)
class Origin:
    """Where a request came from, its id, and as it goes on, whom it acts for and what it asks.

    ``queries`` counts the statements that the database was given, ``route`` is its path's rule.
    ``traceparent`` names its span (W3C Trace Context), where it is traced.
    """

    ip_address: str | None = None
    raw_user_agent: str = ""
    request_id: str | None = None
    user_id: int | None = None
    queries: int = 0
    route: str | None = None
    traceparent: str | None = None

    @property
    def user_agent(self) -> str | None:
        """What the client calls itself, shortened, and without what is not for reading."""
        named = "".join(filter(str.isprintable, self.raw_user_agent))
        return named.encode(errors="replace").decode()[:255] or None

    def tidied(self) -> "Origin":
        """Return the origin as it may be kept for later."""
        return replace(self, raw_user_agent=self.user_agent or "")


class Answered(NamedTuple):
    """A request and the answer to it, as it is about to go out; ``environ`` is WSGI's."""

    environ: Mapping[str, Any]
    status: int
    seconds: float
    origin: Origin


Observer = Callable[[Answered], None]


def observers(extensions: dict[str, Any]) -> list[Observer]:
    """Return, among the ``extensions`` of an application, those who are told of each answer."""
    held: list[Observer] = extensions.setdefault("observers", [])
    return held


NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)


def origin() -> Origin:
    """The origin of the request at hand; NOWHERE outside a request."""
    return _current.get()


def set_origin(value: Origin) -> None:
    """Say where what follows comes from."""
    _current.set(value)


@contextmanager
def coming_from(value: Origin) -> Iterator[None]:
    """Do something in the name of a request that is over."""
    before = _current.set(value)
    try:
        yield
    finally:
        _current.reset(before)
