"""The document and the pages over HTTP; all of it is public."""

from typing import Any

import flask
import orjson
from flask import Response, current_app, render_template, request, url_for

from app.errors import NotAcceptable, NotFound, kinds
from app.http.blueprint import Blueprint
from app.site import assets, document
from app.site.schemas import DOCUMENT

PLAIN = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = f"{PLAIN}; style-src 'self'; img-src 'self'"
# Swagger UI and ReDoc write their styles as they go and draw with data: images; ReDoc searches in
# a worker that it makes itself.
TOOL_POLICY = (
    f"{PLAIN}; script-src 'self'; connect-src 'self'; worker-src blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)

api_document = Blueprint(
    "openapi", __name__, url_prefix="/api/v1", description="This document, for programs."
)
site = flask.Blueprint("site", __name__, template_folder="templates")


@api_document.get("/openapi.json")
@api_document.response(200, DOCUMENT, tagged=True, content_type=document.JSON)
def read_document() -> Response:
    """Read this document as JSON."""
    return document.as_json(current_app).answer()


@api_document.get("/openapi.yaml")
@api_document.response(200, DOCUMENT, tagged=True, content_type=document.YAML)
def read_document_as_yaml() -> Response:
    """Read this document as YAML."""
    return document.as_yaml(current_app).answer()


@site.get("/")
def index() -> Response:
    """What there is to read."""
    links = {
        "docs": url_for("site.docs"),
        "redoc": url_for("site.redoc"),
        "openapi_json": url_for("openapi.read_document"),
        "openapi_yaml": url_for("openapi.read_document_as_yaml"),
    }
    problems = {kind.code: url_for("site.problem", code=kind.code) for kind in kinds()}
    if _asks_for_json():
        return _json(
            name=current_app.config["API_TITLE"],
            version=current_app.config["API_VERSION"],
            **{name: _absolute(path) for name, path in links.items()},
            problems={code: _absolute(path) for code, path in problems.items()},
        )
    return _page("index.html", links=links, problems=kinds())


@site.get("/problems/<code>")
def problem(code: str) -> Response:
    """What a problem means, and what to do about it."""
    kind = next((kind for kind in kinds() if kind.code == code), None)
    if kind is None:
        raise NotFound
    if _asks_for_json():
        return _json(
            type=_absolute(request.path),
            title=kind.title,
            status=int(kind.status),
            code=kind.code,
            detail=kind.detail,
            advice=kind.advice,
        )
    return _page("problem.html", problem=kind)


@site.get("/docs")
def docs() -> Response:
    """Swagger UI: the document to read and to try."""
    return _page("docs.html", policy=TOOL_POLICY)


@site.get("/redoc")
def redoc() -> Response:
    """ReDoc: the document to read."""
    return _page("redoc.html", policy=TOOL_POLICY)


@site.get("/assets/<name>")
def asset(name: str) -> Response:
    """A file of the pages."""
    if name not in assets.FILES:
        raise NotFound
    return assets.read(name).answer()


def _absolute(path: str) -> str:
    return f"{current_app.config['PUBLIC_URL']}{path}"


def _asks_for_json() -> bool:
    """Tell whether the client would rather have JSON. Raises NotAcceptable for neither."""
    if not request.accept_mimetypes:
        return False
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    if best is None:
        raise NotAcceptable("The answer is text/html or application/json.")
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
