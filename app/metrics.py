"""What is counted for Prometheus, where METRICS switches it on."""

import os
import time
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from sqlalchemy import Engine, event

from app.extensions import db

REQUESTS = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_duration_seconds",
    "How long requests took.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CONNECTIONS = Gauge(
    "database_connections_in_use", "Connections out of the pool.", multiprocess_mode="livesum"
)
EVENTS = Counter("account_events_total", "What was recorded of accounts.", ["event"])

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def exposition() -> Response:
    """Return what was counted, by all processes of this server together."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _count_request(response: Response) -> Response:
    # A route by its rule and no made-up method: clients don't decide how many series there are.
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in METHODS else "other"
    REQUESTS.labels(method, route, response.status_code).inc()
    SECONDS.labels(method, route).observe(time.perf_counter() - g.started)
    return response


def _watch_pool(engine: Engine) -> None:
    def taken(*_: Any) -> None:
        CONNECTIONS.inc()

    def given_back(*_: Any) -> None:
        CONNECTIONS.dec()

    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def init_app(app: Flask) -> None:
    """Count what this application does, and tell it at ``/metrics``, if METRICS is on."""
    if not app.config["METRICS"]:
        return
    app.after_request(_count_request)
    app.add_url_rule("/metrics", "metrics", exposition)
    with app.app_context():
        for engine in db.engines.values():
            _watch_pool(engine)
