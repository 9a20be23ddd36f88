"""Where the request at hand came from, for those who keep a record of it."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The client of a request: its address, what it calls itself, and the request's id."""

    ip_address: str | None = None
    raw_user_agent: str = ""
    request_id: str | None = None

    @property
    def user_agent(self) -> str | None:
        """What the client calls itself, shortened, and without what is not for reading."""
        named = "".join(filter(str.isprintable, self.raw_user_agent))
        return named.encode(errors="replace").decode()[:255] or None


NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)


def origin() -> Origin:
    """The origin of the request at hand; NOWHERE outside a request."""
    return _current.get()


def set_origin(value: Origin) -> None:
    """Say where what follows comes from."""
    _current.set(value)
