"""Headers that every response has, and checks that every request must pass."""

import re
from typing import Any

from flask import Flask, request
from flask.sessions import NullSession, SessionInterface

from app.errors import BadRequest, NotFound

HOST_RE = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
PRIVATE = ("Cache-Control", "private, no-cache")


def add_default_headers(
    headers: list[tuple[str, str]], environ: dict[str, Any], request_id: str
) -> None:
    """Add the request id, the security headers that are missing, and the cache headers."""
    existing = dict(headers)
    headers.append(("X-Request-ID", request_id))
    headers += [header for header in SECURITY_HEADERS.items() if header[0] not in existing]
    if environ["wsgi.url_scheme"] == "https":
        headers.append(HSTS)
    if "HTTP_AUTHORIZATION" in environ:
        headers.append(("Vary", "Authorization"))
        if existing.get("Cache-Control") != "no-store":
            headers[:] = [header for header in headers if header[0] != "Cache-Control"]
            headers.append(PRIVATE)


def validate_request() -> None:
    """Reject requests that violate HTTP, and paths that the router would misread.

    Raises BadRequest if HTTP/1.1 has no valid ``Host`` (RFC 9112, 3.2) and for unknown transfer
    codings (RFC 9112, 6.1), NotFound for a path with two leading slashes, which the router merges.
    """
    environ = request.environ
    is_http_1_1 = environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
    if is_http_1_1 and not HOST_RE.fullmatch(environ.get("HTTP_HOST", "")):
        raise BadRequest("The Host header is missing or invalid.")
    coding = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if coding.strip().lower() != "chunked":
        raise BadRequest("The only supported Transfer-Encoding is chunked.")
    if environ["PATH_INFO"].startswith("//"):
        raise NotFound


class NoSessions(SessionInterface):
    """Disable Flask's session cookies."""

    def open_session(self, *_: Any) -> NullSession:
        return NullSession()

    def save_session(self, *_: Any) -> None:
        """Save nothing."""


def init_app(app: Flask) -> None:
    app.session_interface = NoSessions()
    app.before_request(validate_request)
