"""CORS: which other origins may call the API from a browser."""

import re

from flask import Flask, Response

from app.extensions import cors
from app.rate_limiter import HEADERS as RATE_LIMIT_HEADERS

RESPONSE_HEADERS = (
    "Content-Disposition",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    *RATE_LIMIT_HEADERS,
)
# Browsers cache a preflight response for at most two hours.
MAX_AGE_SECONDS = 7200


def init_app(app: Flask) -> None:
    """Allow the origins in CORS_ORIGINS; without any, no response has CORS headers."""
    origins = app.config["CORS_ORIGINS"]
    if not origins:
        return
    allow_all = origins == ["*"]
    # Flask-CORS would take a string such as "http://[::1]:3000" for a regular expression.
    patterns = [re.compile(re.escape(origin) + r"\Z") for origin in origins]
    cors.init_app(
        app,
        origins="*" if allow_all else patterns,
        allow_headers=app.config["CORS_ALLOW_HEADERS"].split(","),
        expose_headers=RESPONSE_HEADERS,
        max_age=MAX_AGE_SECONDS,
        send_wildcard=allow_all,
        always_send=False,
        intercept_exceptions=False,
        vary_header=False,
    )
    if not allow_all:
        app.after_request(vary_by_origin)


def vary_by_origin(response: Response) -> Response:
    """Add ``Vary: Origin`` to each response; Flask-CORS omits it if the origin is not allowed."""
    response.headers.add("Vary", "Origin")
    return response
