"""Which pages of other origins may call the API from a browser."""

import re

from flask import Flask, Response

from app.extensions import cors
from app.http.limits import HEADERS

ALLOWED = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
)
EXPOSED = (
    "Content-Disposition",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    *HEADERS,
)
# As long as any browser remembers what a preflight was told.
MAX_AGE = 7200


def init_app(app: Flask) -> None:
    """Let the pages of CORS_ORIGINS call; those of any other origin are told nothing."""
    origins = app.config["CORS_ORIGINS"]
    if not origins:
        return
    for_all = origins == ["*"]
    cors.init_app(
        app,
        # Taken for a pattern by its signs, an origin would match others too.
        origins="*" if for_all else [re.compile(re.escape(origin) + r"\Z") for origin in origins],
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        max_age=MAX_AGE,
        send_wildcard=for_all,
        always_send=False,
        intercept_exceptions=False,
        vary_header=False,
    )
    if not for_all:
        app.after_request(_vary)


def _vary(response: Response) -> Response:
    response.headers.add("Vary", "Origin")
    return response
