"""Middleware and checks of every request: its id, headers and connection, log and metrics.

A response header set in the WSGI middleware costs a tenth of what it costs in Flask.
"""

import re
from collections.abc import Iterable, Sequence
from random import getrandbits
from time import perf_counter
from typing import Any

from flask import Flask, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

from app.api.parsing import drain_body
from app.db import connections
from app.errors import BadRequest, NotFound
from app.request_context import (
    RequestContext,
    ResponseEvent,
    ResponseHook,
    matched_route,
    response_hooks,
    use_context,
)

HOST_RE = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
REQUEST_ID_RE = re.compile(r"[A-Za-z0-9._-]{1,128}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
PRIVATE = ("Cache-Control", "private, no-cache")


class RequestContextMiddleware:
    """Sets the context of each request, and calls the response hooks."""

    def __init__(self, wsgi_app: Any, hooks: Sequence[ResponseHook]) -> None:
        self._wsgi_app = wsgi_app
        self._hooks = hooks

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call the application (PEP 3333)."""
        started = perf_counter()
        request_id = environ.get("HTTP_X_REQUEST_ID", "")
        if not REQUEST_ID_RE.fullmatch(request_id):
            # It is no secret, so it needs no randomness from the system.
            request_id = f"{getrandbits(128):032x}"
        context = RequestContext(
            environ.get("REMOTE_ADDR"), environ.get("HTTP_USER_AGENT", ""), request_id
        )

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            add_default_headers(headers, environ, request_id)
            has_body = environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ
            # Only servers that end the input with the body set this; others would wait for more.
            if has_body and environ.get("wsgi.input_terminated"):
                drain_body(environ["wsgi.input"])
            seconds = perf_counter() - started
            event = ResponseEvent(environ, matched_route(), int(status[:3]), seconds, context)
            for hook in self._hooks:
                hook(event)
            return start_response(status, headers, *exc_info)

        with use_context(context), connections.scope():
            body: Iterable[bytes] = self._wsgi_app(environ, start)
        return body


class PublicPathMiddleware:
    """Accepts requests that have the path of PUBLIC_URL, beside those without it.

    So a proxy may serve the API under a path and pass the path, or remove it.
    """

    def __init__(self, wsgi_app: Any, public_path: str) -> None:
        self._wsgi_app = wsgi_app
        self._public_path = public_path

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path == self._public_path or path.startswith(f"{self._public_path}/"):
            environ["PATH_INFO"] = path.removeprefix(self._public_path) or "/"
        response: Iterable[bytes] = self._wsgi_app(environ, start_response)
        return response


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
    """Wrap the WSGI application, and check every request.

    The last TRUSTED_PROXIES values of X-Forwarded-For and X-Forwarded-Proto are trusted.
    X-Forwarded-Host is never trusted: links start with PUBLIC_URL.
    """
    hooks = response_hooks(app.extensions)
    app.wsgi_app = RequestContextMiddleware(app.wsgi_app, hooks)  # type: ignore[method-assign]
    if count := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]  # as Flask documents
    if public_path := app.config["PUBLIC_PATH"]:
        app.wsgi_app = PublicPathMiddleware(app.wsgi_app, public_path)  # type: ignore[method-assign]
    app.session_interface = NoSessions()
    app.before_request(validate_request)
