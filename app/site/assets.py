"""The files of the pages: our own, and those that packages ship; none comes from another host."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from app.site.served import Served

OURS = files("app.site") / "static"
SWAGGER_UI = files("flask_swagger_ui") / "dist"
REDOC = files("openapi_ui_bundles.redoc") / "vendor"

FILES: dict[str, tuple[Traversable, str]] = {
    "site.css": (OURS, "text/css; charset=utf-8"),
    "docs.js": (OURS, "text/javascript; charset=utf-8"),
    "redoc.js": (OURS, "text/javascript; charset=utf-8"),
    "swagger-ui.css": (SWAGGER_UI, "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": (SWAGGER_UI, "text/javascript; charset=utf-8"),
    "favicon-32x32.png": (SWAGGER_UI, "image/png"),
    "redoc.standalone.js": (REDOC, "text/javascript; charset=utf-8"),
    "logo-mini.svg": (REDOC, "image/svg+xml"),
}

# ReDoc fetches its logo from its maker's host, though the package ships it.
LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"


@cache
def read(name: str) -> Served:
    """Return one of FILES."""
    folder, media_type = FILES[name]
    return Served.of(
        (folder / name).read_bytes().replace(LOGO, b"assets/logo-mini.svg"), media_type
    )
