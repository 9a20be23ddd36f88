"""OpenTelemetry traces of requests, outbox messages and SQL statements.

Spans contain routes and statements without parameters; never paths, queries or error messages.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from celery.signals import worker_process_shutdown
from flask import Flask
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Engine, ExceptionContext, event

from app.extensions import db
from app.observability.metrics import HTTP_METHODS
from app.outbox.dispatcher import Attempt, Result
from app.outbox.leases import LeasedMessage
from app.request_context import matched_route, request_context

SHUTDOWN_TIMEOUT_SECONDS = 3

_propagator = TraceContextTextMapPropagator()
_statement_start: ContextVar[int] = ContextVar("statement_start")


class QuickShutdownProcessor(BatchSpanProcessor):
    """Exports spans from a thread; shuts down faster than the SDK's 30 seconds."""

    def shutdown(self) -> None:
        self._batch_processor.shutdown(timeout_millis=SHUTDOWN_TIMEOUT_SECONDS * 1000)


@cache
def _tracer() -> Tracer:
    """Return the tracer, configured by the standard environment variables."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "task-api"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(QuickShutdownProcessor(OTLPSpanExporter()))
    # Celery's pool processes exit without running atexit handlers.
    worker_process_shutdown.connect(lambda **_: provider.shutdown(), weak=False)
    return provider.get_tracer("app")


class TracingMiddleware:
    """WSGI middleware that creates a span for each request, in the client's trace if it has one."""

    def __init__(self, wsgi_app: Any) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call the application (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        if method not in HTTP_METHODS:
            method = "_OTHER"
        status_code, route = 500, None

        def record_status(status: str, *args: Any) -> Any:
            nonlocal status_code, route
            status_code, route = int(status[:3]), matched_route()
            return start_response(status, *args)

        with _span(method, SpanKind.SERVER, environ.get("HTTP_TRACEPARENT")) as span:
            try:
                body: Iterable[bytes] = self._wsgi_app(environ, record_status)
            finally:
                _describe_request(span, method, route, status_code)
        return body


def _describe_request(span: Span, method: str, route: str | None, status: int) -> None:
    span.update_name(f"{method} {route}" if route else method)
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.response.status_code", status)
    if route:
        span.set_attribute("http.route", route)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _trace_message(attempt: Attempt, message: LeasedMessage) -> Result:
    """Create a span for an attempt at an outbox message, in the trace that caused the message."""
    name = f"outbox {message.type}"
    with _span(name, SpanKind.CONSUMER, request_context().traceparent) as span:
        outcome, error = attempt(message)
        span.set_attribute("outbox.attempt", message.attempts)
        span.set_attribute("outbox.outcome", str(outcome))
        _record_error(span, error)
    return outcome, error


@contextmanager
def _span(name: str, kind: SpanKind, traceparent: str | None) -> Iterator[Span]:
    """Run a block in a span, in a client's trace if there is one.

    The request context gets the span, for messages that the block enqueues.
    """
    with _tracer().start_as_current_span(
        name,
        context=_propagator.extract({"traceparent": traceparent} if traceparent else {}, Context()),
        kind=kind,
        attributes={"request_id": request_context().request_id or ""},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        request_context().traceparent = carrier.get("traceparent")
        yield span


def _trace_statements(engine: Engine) -> None:
    """Create a span for each statement of an engine."""
    system = engine.dialect.name

    def after_execute(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        _add_statement_span(system, statement)

    def handle_error(context: ExceptionContext) -> None:
        # Failed connections and commits have no statement.
        if context.statement is not None and context.execution_context is not None:
            _add_statement_span(system, context.statement, context.original_exception)

    event.listen(engine, "before_cursor_execute", lambda *_: _statement_start.set(time.time_ns()))
    event.listen(engine, "after_cursor_execute", after_execute)
    event.listen(engine, "handle_error", handle_error)


def _add_statement_span(system: str, statement: str, error: BaseException | None = None) -> None:
    """Add a span below the current one; without one, such as when polling, add none."""
    if not get_current_span().is_recording():
        return
    operation = statement.split(None, 1)[0].upper()
    span = _tracer().start_span(
        operation,
        kind=SpanKind.CLIENT,
        attributes={
            "db.system.name": system,
            "db.operation.name": operation,
            "db.query.text": statement,
        },
        start_time=_statement_start.get(time.time_ns()),
    )
    _record_error(span, error)
    span.end()


def _record_error(span: Span, error: BaseException | None) -> None:
    """Record the class of an error; its message may contain user data."""
    if error is not None:
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(StatusCode.ERROR)


def init_app(app: Flask) -> None:
    """Trace the requests, outbox messages and statements of an application."""
    _tracer()
    app.wsgi_app = TracingMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # as Flask documents
    app.extensions["outbox_wrappers"].append(_trace_message)
    with app.app_context():
        for engine in db.engines.values():
            _trace_statements(engine)
