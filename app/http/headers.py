"""What every answer carries: a request id, security headers, and who may keep it."""

import os
import re
import time

from flask import Flask, Response, g, request

from app.errors import BadRequest
from app.origin import NOWHERE, Origin, set_origin

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

HOST = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def name_request() -> None:
    """Give the request its start, and the id that its answer, problems and log lines carry."""
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    set_origin(Origin(request.remote_addr, request.headers.get("User-Agent", ""), g.request_id))


def forget_origin(_: BaseException | None) -> None:
    """Leave nothing of the request to what the thread does next."""
    set_origin(NOWHERE)


def require_host() -> None:
    """Raise BadRequest where HTTP/1.1 wants a host and there is none (RFC 9112, 3.2)."""
    host = request.environ.get("HTTP_HOST", "")
    if not HOST.fullmatch(host) and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1":
        raise BadRequest("The Host header is missing, or no host.")


def require_plain_transfer() -> None:
    """Raise BadRequest for a body in a coding that nobody undoes (RFC 9112, 6.1)."""
    coding = request.environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if coding.strip().lower() != "chunked":
        raise BadRequest("The only Transfer-Encoding that is understood is chunked.")


def finish(response: Response) -> Response:
    """Add what an answer does not say for itself."""
    headers = response.headers
    headers["X-Request-ID"] = g.request_id
    for name, value in SECURITY.items():
        headers.setdefault(name, value)
    if request.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if "Authorization" in request.headers:
        if headers.get("Cache-Control") != "no-store":
            headers["Cache-Control"] = "private, no-cache"
        headers.add("Vary", "Authorization")
    return response


def init_app(app: Flask) -> None:
    app.before_request(name_request)
    app.before_request(require_host)
    app.before_request(require_plain_transfer)
    app.teardown_request(forget_origin)
    app.after_request(finish)
