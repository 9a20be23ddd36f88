"""Health over HTTP: for whoever starts, stops and watches the service; all of it is public."""

from typing import Any

from flask import current_app

from app.errors import Unavailable
from app.health import services
from app.health.schemas import LIVENESS, PONG, READINESS
from app.http.answers import NO_STORE
from app.http.blueprint import Blueprint
from app.outbox.celery import carrier

blueprint = Blueprint("health", __name__, description="Whether the service lives and is ready.")

Answer = tuple[dict[str, Any], dict[str, str]]


@blueprint.get("/ping")
@blueprint.response(200, PONG)
def ping() -> Answer:
    """Answer, whatever else is wrong."""
    return {"message": "pong"}, NO_STORE


@blueprint.get("/health/live")
@blueprint.response(200, LIVENESS)
def read_liveness() -> Answer:
    """Tell that the process answers; where it doesn't, start it anew."""
    return {"status": services.OK}, NO_STORE


@blueprint.get("/health/ready")
@blueprint.response(200, READINESS)
def read_readiness() -> Answer:
    """Tell whether the service can do its work; 503 names the parts that fail."""
    parts = services.readiness(current_app.config["REDIS_URL"], carrier())
    if not services.is_ready(parts):
        raise Unavailable(parts)
    return {"status": services.OK, "parts": parts}, NO_STORE
