"""Public routes of the OpenAPI document and the documentation pages."""

from typing import Any

import flask
import orjson
from flask import Response, current_app, render_template, request, url_for

from app.api.blueprint import Blueprint
from app.docs_site import assets, spec
from app.docs_site.schemas import INDEX, ApiIndexSchema, SpecSchema
from app.errors import NotAcceptable, NotFound, all_problems

BASE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = f"{BASE_POLICY}; style-src 'self'; img-src 'self'"
# Swagger UI and ReDoc use inline styles and data: images. ReDoc's search runs in a worker from a
# blob: URL.
VIEWER_POLICY = (
    f"{BASE_POLICY}; script-src 'self'; connect-src 'self'; worker-src blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)

blp = Blueprint("openapi", __name__, description="The OpenAPI document.")
pages = flask.Blueprint("site", __name__, template_folder="templates")


@blp.get("")
@blp.response(200, ApiIndexSchema)
def read_index() -> dict[str, str]:
    """List the links to the OpenAPI document and the collections."""
    return {name: _absolute(url_for(endpoint)) for name, endpoint in INDEX.items()}


@blp.get("/openapi.json")
@blp.response(200, SpecSchema, has_etag=True, content_type=spec.JSON)
def read_document() -> Response:
    """Read the OpenAPI document as JSON."""
    return spec.load(current_app, spec.JSON).response()


@blp.get("/openapi.yaml")
@blp.response(200, SpecSchema, has_etag=True, content_type=spec.YAML)
def read_document_as_yaml() -> Response:
    """Read the OpenAPI document as YAML."""
    return spec.load(current_app, spec.YAML).response()


@pages.get("/")
def index() -> Response:
    """Render links to all pages."""
    if not _prefers_json():
        return _page("index.html", problems=all_problems())
    links = {
        "docs": url_for("site.docs"),
        "redoc": url_for("site.redoc"),
        "openapi_json": url_for("openapi.read_document"),
        "openapi_yaml": url_for("openapi.read_document_as_yaml"),
    }
    problems = {cls.code: url_for("site.problem", code=cls.code) for cls in all_problems()}
    return _json(
        name=current_app.config["API_TITLE"],
        version=current_app.config["API_VERSION"],
        **{name: _absolute(path) for name, path in links.items()},
        problems={code: _absolute(path) for code, path in problems.items()},
    )


@pages.get("/problems/<code>")
def problem(code: str) -> Response:
    """Describe a problem and its resolution."""
    cls = next((cls for cls in all_problems() if cls.code == code), None)
    if cls is None:
        raise NotFound
    if _prefers_json():
        return _json(
            type=_absolute(request.path),
            title=cls.title,
            status=int(cls.status),
            code=cls.code,
            detail=cls.detail,
            advice=cls.resolution,
        )
    return _page("problem.html", problem=cls)


@pages.get("/docs")
def docs() -> Response:
    """Render Swagger UI."""
    return _page("docs.html", policy=VIEWER_POLICY)


@pages.get("/redoc")
def redoc() -> Response:
    """Render ReDoc."""
    return _page("redoc.html", policy=VIEWER_POLICY)


@pages.get("/assets/<name>")
def asset(name: str) -> Response:
    """Return a static file of the pages."""
    if name not in assets.FILES:
        raise NotFound
    return assets.load(name).response()


@pages.app_template_global()
def public_path(endpoint: str, **values: Any) -> str:
    """Return the path of an endpoint, below that of PUBLIC_URL."""
    return f"{current_app.config['PUBLIC_PATH']}{url_for(endpoint, **values)}"


def _absolute(path: str) -> str:
    return f"{current_app.config['PUBLIC_URL']}{path}"


def _prefers_json() -> bool:
    """Return whether the client prefers JSON to HTML. Raises NotAcceptable for neither."""
    if not request.accept_mimetypes:
        return False
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    if best is None:
        raise NotAcceptable("The response is text/html or application/json.")
    return best == "application/json"


def _json(**members: Any) -> Response:
    response = Response(orjson.dumps(members), content_type="application/json")
    response.headers["Vary"] = "Accept"
    return response


def _page(template: str, *, policy: str = PAGE_POLICY, **values: Any) -> Response:
    response = Response(render_template(f"site/{template}", **values))
    response.headers["Content-Security-Policy"] = policy
    response.headers["Vary"] = "Accept"
    return response
