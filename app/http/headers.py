"""What every answer carries, and what every request must say."""

import re
from typing import Any

from flask import Flask, request
from flask.sessions import NullSession, SessionInterface

from app.errors import BadRequest, NotFound
from app.http.context import itself
from app.origin import origin

HOST = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
TRANSPORT = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
PRIVATE = ("Cache-Control", "private, no-cache")


def finish(headers: list[tuple[str, str]], environ: dict[str, Any], request_id: str) -> None:
    """Add what an answer does not say for itself: its id, its safety, and who may keep it."""
    said = dict(headers)
    headers.append(("X-Request-ID", request_id))
    headers += [header for header in SECURITY.items() if header[0] not in said]
    if environ["wsgi.url_scheme"] == "https":
        headers.append(TRANSPORT)
    if "HTTP_AUTHORIZATION" in environ:
        headers.append(("Vary", "Authorization"))
        if said.get("Cache-Control") != "no-store":
            headers[:] = [header for header in headers if header[0] != "Cache-Control"]
            headers.append(PRIVATE)


def admit() -> None:
    """Refuse a request that HTTP or the contract does not allow, whatever it asks for.

    Raises BadRequest without a host (RFC 9112, 3.2) and for a transfer coding that nobody undoes
    (RFC 9112, 6.1), NotFound where a path begins with two slashes, which the router takes for one.
    """
    environ = itself(request).environ
    if not HOST.fullmatch(environ.get("HTTP_HOST", "")) and _wants_host(environ):
        raise BadRequest("The Host header is missing, or no host.")
    coding = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if coding.strip().lower() != "chunked":
        raise BadRequest("The only Transfer-Encoding that is understood is chunked.")
    if environ["PATH_INFO"].startswith("//"):
        raise NotFound


def name_route() -> None:
    """Note which route was found, for those who keep a record of it."""
    rule = itself(request).url_rule
    if rule is not None:
        origin().route = rule.rule


def _wants_host(environ: dict[str, Any]) -> bool:
    return bool(environ.get("SERVER_PROTOCOL") == "HTTP/1.1")


class NoSessions(SessionInterface):
    """Nothing is kept in cookies, so none is looked for."""

    def open_session(self, *_: Any) -> NullSession:
        return NullSession()

    def save_session(self, *_: Any) -> None:
        """Keep nothing."""


def init_app(app: Flask) -> None:
    app.session_interface = NoSessions()
    app.before_request(name_route)
    app.before_request(admit)
