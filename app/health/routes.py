"""Public health endpoints for load balancers and service managers."""

from typing import Any

from flask import current_app

from app.api.blueprint import Blueprint
from app.api.http import NO_STORE
from app.errors import Unavailable
from app.extensions import limiter
from app.health import schemas, services
from app.outbox.celery import celery_app

blp = Blueprint("health", __name__, description="Liveness and readiness.")

ResponseBody = tuple[dict[str, Any], dict[str, str]]


@blp.get("/ping")
@blp.response(200, schemas.PongSchema)
def ping() -> ResponseBody:
    """Check that the server responds."""
    return {"message": "pong"}, NO_STORE


@blp.get("/health/live")
@blp.response(200, schemas.LivenessSchema)
@limiter.exempt
def read_liveness() -> ResponseBody:
    """Check that the process is alive; restart it if it does not respond."""
    return {"status": services.OK}, NO_STORE


@blp.get("/health")
@blp.response(200, schemas.LivenessSchema)
@limiter.exempt
def read_health() -> ResponseBody:
    """Check that the process is alive, like `/health/live`."""
    return {"status": services.OK}, NO_STORE


@blp.get("/health/ready")
@blp.response(200, schemas.ReadinessSchema)
@limiter.exempt
def read_readiness() -> ResponseBody:
    """Check the dependencies of the service; 503 lists the failing ones."""
    parts = services.check_readiness(current_app.config["REDIS_URL"], celery_app())
    if not services.is_ready(parts):
        raise Unavailable(parts)
    return {"status": services.OK, "parts": parts}, NO_STORE
