"""What is around every request and its answer: an id, headers, a log line and counts.

It stands in front of Flask, as WSGI middleware: there a header costs a tenth of what it does in it.
"""

import re
from collections.abc import Iterable, Sequence
from random import getrandbits
from time import perf_counter
from typing import Any

from flask import Flask

from app import connections
from app.http.body import discard_rest
from app.http.headers import finish
from app.origin import NOWHERE, Answered, Observer, Origin, observers, set_origin

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Envelope:
    """Names each request, and tells observers how it was answered."""

    def __init__(self, wsgi_app: Any, observers: Sequence[Observer]) -> None:
        self._wsgi_app = wsgi_app
        self._observers = observers

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Have the application answer (PEP 3333)."""
        started = perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else new_id()
        asked = Origin(environ.get("REMOTE_ADDR"), environ.get("HTTP_USER_AGENT", ""), request_id)

        def start(status: str, headers: list[tuple[str, str]], *failed: Any) -> Any:
            finish(headers, environ, request_id)
            discard_rest(environ)
            answered = Answered(environ, int(status[:3]), perf_counter() - started, asked)
            for observe in self._observers:
                observe(answered)
            return start_response(status, headers, *failed)

        set_origin(asked)
        shared = connections.share()
        try:
            answer: Iterable[bytes] = self._wsgi_app(environ, start)
        finally:
            # Nothing of the request is left to what the thread does next.
            connections.end_sharing(shared)
            set_origin(NOWHERE)
        return answer


def new_id() -> str:
    """Return an id for a request: no secret, so the system is not asked for chance each time."""
    return f"{getrandbits(128):032x}"


def init_app(app: Flask) -> None:
    """Stand in front of an application, before what may stand in front of this."""
    app.wsgi_app = Envelope(app.wsgi_app, observers(app.extensions))  # type: ignore[method-assign]
