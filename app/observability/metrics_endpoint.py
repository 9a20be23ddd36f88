"""The ``/metrics`` endpoint for Prometheus, and the hooks that record metrics."""

import os
from functools import cache

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics import Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import event

from app.extensions import db, limiter
from app.observability.metrics import (
    CONNECTIONS,
    DATABASE_REGISTRY,
    HTTP_METHODS,
    REQUEST_DURATION,
    REQUESTS,
)
from app.request_context import ResponseEvent, response_hooks


def metrics() -> Response:
    """Return the metrics of all processes of this server."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    text = generate_latest(registry) + generate_latest(DATABASE_REGISTRY)
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def record_request(response: ResponseEvent) -> None:
    # Labels are limited to known routes and methods: clients must not create time series.
    method = response.environ["REQUEST_METHOD"]
    known_method = method if method in HTTP_METHODS else "other"
    requests, duration = _labels(known_method, response.route or "none", response.status)
    requests.inc()
    duration.observe(response.seconds)


@cache
def _labels(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), REQUEST_DURATION.labels(method, route)


def init_app(app: Flask) -> None:
    """Record metrics and serve them at ``/metrics`` if METRICS is enabled."""
    if not app.config["METRICS"]:
        return
    response_hooks(app.extensions).append(record_request)
    app.add_url_rule("/metrics", view_func=limiter.exempt(metrics))
    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "checkout", lambda *_: CONNECTIONS.inc())
            event.listen(engine, "checkin", lambda *_: CONNECTIONS.dec())
