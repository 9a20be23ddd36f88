"""Static files of the pages: our own, and those of Swagger UI and ReDoc."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from app.docs_site.static_body import StaticBody

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


@cache
def load(name: str) -> StaticBody:
    """Load one of FILES."""
    directory, media_type = FILES[name]
    body = (directory / name).read_bytes().replace(REDOC_LOGO_URL, b"assets/logo-mini.svg")
    return StaticBody(body, media_type)
