"""Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REQUESTS = Counter("http_requests_total", "HTTP requests.", ["method", "route", "status"])
REQUEST_DURATION = Histogram(
    "http_request_duration_seconds",
    "Duration of HTTP requests.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CONNECTIONS = Gauge(
    "database_connections_in_use",
    "Connections checked out of the pool.",
    multiprocess_mode="livesum",
)
EVENTS = Counter("account_events_total", "Audit events of accounts.", ["event"])
OUTBOX_MESSAGES = Counter(
    "outbox_messages_total", "Attempts to process outbox messages.", ["type", "outcome"]
)

# Collectors that read the database at each scrape, in one process. The default registry cannot
# hold them, because it is not used when several processes share their metrics.
DATABASE_REGISTRY = CollectorRegistry()

HTTP_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
