"""Data about the current request for logs, metrics, traces and audit events."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from flask import request


@dataclass(slots=True)
class RequestContext:
    """The origin of a request, and data that is collected while it is handled.

    ``queries`` counts database statements, ``traceparent`` identifies the span (W3C Trace Context)
    if the request is traced.
    """

    ip_address: str | None = None
    raw_user_agent: str = ""
    request_id: str | None = None
    user_id: int | None = None
    queries: int = 0
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
    """A response that is about to be sent.

    ``environ`` is the WSGI environment; ``route`` is the URL rule, None if no rule matches.
    """

    environ: Mapping[str, Any]
    route: str | None
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


def matched_route() -> str | None:
    """Return the URL rule of the current Flask request, or None if no rule matches."""
    return request.url_rule.rule if request.url_rule else None


@contextmanager
def use_context(context: RequestContext) -> Iterator[None]:
    """Run a block as part of a request: its handling, or a background task that it caused."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
