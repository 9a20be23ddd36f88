"""Data about the current request for logs, metrics, traces and audit events."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple


@dataclass(slots=True)
class RequestContext:
    """The origin of a request, and data that is collected while it is handled.

    ``queries`` counts database statements, ``route`` is the URL rule, ``traceparent`` identifies
    the span (W3C Trace Context) if the request is traced.
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
        """The ``User-Agent`` header without unprintable characters, at most 255 characters."""
        printable = "".join(filter(str.isprintable, self.raw_user_agent))
        return printable.encode(errors="replace").decode()[:255] or None

    def sanitized(self) -> "RequestContext":
        """Return a copy that is safe to store."""
        return replace(self, raw_user_agent=self.user_agent or "")


class ResponseEvent(NamedTuple):
    """A response that is about to be sent; ``environ`` is the WSGI environment."""

    environ: Mapping[str, Any]
    status: int
    seconds: float
    context: RequestContext


ResponseHook = Callable[[ResponseEvent], None]


def response_hooks(extensions: dict[str, Any]) -> list[ResponseHook]:
    """Return the functions that an application calls with each response."""
    hooks: list[ResponseHook] = extensions.setdefault("response_hooks", [])
    return hooks


EMPTY = RequestContext()
_current: ContextVar[RequestContext] = ContextVar("request_context", default=EMPTY)


def request_context() -> RequestContext:
    """Return the context of the current request, or EMPTY outside a request."""
    return _current.get()


def set_request_context(context: RequestContext) -> None:
    """Set the context of the current thread."""
    _current.set(context)


@contextmanager
def use_context(context: RequestContext) -> Iterator[None]:
    """Run a block as part of an earlier request, such as a background task that it caused."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
