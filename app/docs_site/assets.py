"""Static files of the pages: our own, and those of Swagger UI and ReDoc."""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from flask import Response

from app.api.http import if_none_match_contains, not_modified_response

STATIC = files("app.docs_site") / "static"
SWAGGER_UI = files("flask_swagger_ui") / "dist"
REDOC = files("openapi_ui_bundles.redoc") / "vendor"

FILES: dict[str, tuple[Traversable, str]] = {
    "site.css": (STATIC, "text/css; charset=utf-8"),
    "docs.js": (STATIC, "text/javascript; charset=utf-8"),
    "redoc.js": (STATIC, "text/javascript; charset=utf-8"),
    "swagger-ui.css": (SWAGGER_UI, "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": (SWAGGER_UI, "text/javascript; charset=utf-8"),
    "favicon-32x32.png": (SWAGGER_UI, "image/png"),
    "redoc.standalone.js": (REDOC, "text/javascript; charset=utf-8"),
    "logo-mini.svg": (REDOC, "image/svg+xml"),
}

# ReDoc loads its logo from this host, although the package contains it.
REDOC_LOGO_URL = b"https://cdn.redoc.ly/redoc/logo-mini.svg"


class StaticBody:
    """A response body that does not change while the process runs, with its entity tag."""

    def __init__(self, body: bytes, media_type: str) -> None:
        self._body = body
        self._media_type = media_type
        self._etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'

    def response(self) -> Response:
        """Return the body, or 304 if the client has it."""
        if if_none_match_contains(self._etag):
            response = not_modified_response(self._etag)
        else:
            response = Response(self._body, content_type=self._media_type)
            response.headers["ETag"] = self._etag
        # Caches must revalidate, because a new release may change it.
        response.headers["Cache-Control"] = "public, no-cache"
        return response


@cache
def load(name: str) -> StaticBody:
    """Load one of FILES."""
    directory, media_type = FILES[name]
    body = (directory / name).read_bytes().replace(REDOC_LOGO_URL, b"assets/logo-mini.svg")
    return StaticBody(body, media_type)
