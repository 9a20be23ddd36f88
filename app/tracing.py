"""Traces for OpenTelemetry: what each request and each job did in the database, and how long.

Spans hold routes and statements, never a path, a query, a value or what an error says.
"""

import time
from collections.abc import Iterable
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
from app.metrics import METHODS
from app.origin import origin
from app.outbox.items import Claim
from app.outbox.work import Attempt, Ended

# How long a process that ends may take to send what it has left, in seconds.
PATIENCE = 3

_propagator = TraceContextTextMapPropagator()
_began: ContextVar[int] = ContextVar("began")


class BatchProcessor(BatchSpanProcessor):
    """Sends spans from a thread; what finds no room in the queue is dropped."""

    def shutdown(self) -> None:
        """Send what is left, for PATIENCE seconds; the SDK itself would wait for 30."""
        self._batch_processor.shutdown(timeout_millis=PATIENCE * 1000)


@cache
def _tracer() -> Tracer:
    """Return this process's tracer, which the variables configure; one that forks has its own."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "task-api"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchProcessor(OTLPSpanExporter()))
    # The end of a process of Celery's pool is none that Python tells of.
    worker_process_shutdown.connect(lambda **_: provider.shutdown(), weak=False)
    return provider.get_tracer("app")


class Traced:
    """Makes a span of each request, in the trace that the client names."""

    def __init__(self, wsgi_app: Any) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Have the application answer (PEP 3333)."""
        asked = environ["REQUEST_METHOD"]
        method = asked if asked in METHODS else "_OTHER"
        statuses = []

        def start(status: str, *answer: Any) -> Any:
            statuses.append(int(status[:3]))
            return start_response(status, *answer)

        with _tracer().start_as_current_span(
            method,
            context=_context(environ.get("HTTP_TRACEPARENT")),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            _carry_on()
            try:
                answer: Iterable[bytes] = self._wsgi_app(environ, start)
            finally:
                _tell_request(span, method, statuses[-1] if statuses else 500)
        return answer


def _tell_request(span: Span, method: str, status: int) -> None:
    seen = origin()
    span.update_name(f"{method} {seen.route}" if seen.route else method)
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.response.status_code", status)
    span.set_attribute("request_id", seen.request_id or "")
    if seen.route:
        span.set_attribute("http.route", seen.route)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _around_job(attempt: Attempt, item: Claim) -> Ended:
    """Make a span of an attempt at a job, in the trace of the request that caused it."""
    with _tracer().start_as_current_span(
        f"job {item.kind}",
        context=_context(origin().traceparent),
        kind=SpanKind.CONSUMER,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        _carry_on()
        outcome, error = attempt(item)
        span.set_attribute("job.attempt", item.attempts)
        span.set_attribute("job.outcome", str(outcome))
        span.set_attribute("request_id", origin().request_id or "")
        _note_failure(span, error)
    return outcome, error


def _context(traceparent: str | None) -> Context:
    return _propagator.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _carry_on() -> None:
    """Have what follows from the span at hand belong to its trace, wherever that is done."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    origin().traceparent = carrier.get("traceparent")


def _watch(engine: Engine) -> None:
    """Make a span of each statement."""
    name = engine.dialect.name

    def begin(*_: Any) -> None:
        _began.set(time.time_ns())

    def end(_conn: Any, _cursor: Any, text: str, *_: Any) -> None:
        _tell_statement(name, text, _began.get(time.time_ns()))

    def fail(context: ExceptionContext) -> None:
        # Without a statement, what failed was a connection or a commit.
        if context.statement is not None and context.execution_context is not None:
            _tell_statement(
                name, context.statement, _began.get(time.time_ns()), context.original_exception
            )

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


def _tell_statement(system: str, text: str, began: int, error: BaseException | None = None) -> None:
    """Add a statement to the request or the job at hand; elsewhere nobody looks for it."""
    if not get_current_span().is_recording():
        return
    operation = text.split(None, 1)[0].upper()
    told = {"db.system.name": system, "db.operation.name": operation, "db.query.text": text}
    span = _tracer().start_span(operation, kind=SpanKind.CLIENT, attributes=told, start_time=began)
    _note_failure(span, error)
    span.end()


def _note_failure(span: Span, error: BaseException | None) -> None:
    """Note an error's type; what it says may hold what users wrote."""
    if error is not None:
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(StatusCode.ERROR)


def init_app(app: Flask) -> None:
    """Trace the requests and the jobs of an application."""
    _tracer()
    app.wsgi_app = Traced(app.wsgi_app)  # type: ignore[method-assign]
    app.extensions["around_jobs"].append(_around_job)
    with app.app_context():
        for engine in db.engines.values():
            _watch(engine)
