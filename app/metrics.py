"""What is counted for Prometheus, where METRICS switches it on."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from flask import Flask, Response
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
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event

from app.extensions import db
from app.origin import Answered, observers

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
JOBS = Counter("jobs_total", "Attempts at jobs, by how they ended.", ["kind", "outcome"])

Read = Callable[[], Iterable[Metric]]
_read_when_asked: list[Read] = []

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class WhenAsked(Collector):
    """What is not counted but read where it is kept."""

    def collect(self) -> Iterator[Metric]:
        for read in _read_when_asked:
            yield from read()


def read_when_asked(read: Read) -> Read:
    """Have a function tell its figures each time that Prometheus asks."""
    _read_when_asked.append(read)
    return read


def exposition() -> Response:
    """Return what was counted, by all processes of this server together, and what is kept."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    kept = CollectorRegistry()
    kept.register(WhenAsked())
    told = generate_latest(registry) + generate_latest(kept)
    return Response(told, content_type=CONTENT_TYPE_LATEST)


def _count_request(answered: Answered) -> None:
    # A route by its rule and no made-up method: clients don't decide how many series there are.
    asked = answered.environ["REQUEST_METHOD"]
    method = asked if asked in METHODS else "other"
    requests, seconds = _series(method, answered.origin.route or "none", answered.status)
    requests.inc()
    seconds.observe(answered.seconds)


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


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
    observers(app.extensions).append(_count_request)
    app.add_url_rule("/metrics", "metrics", exposition)
    with app.app_context():
        for engine in db.engines.values():
            _watch_pool(engine)
