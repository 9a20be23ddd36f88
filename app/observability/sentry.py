"""Sentry reports of unhandled exceptions and failed outbox messages.

A report contains the error's class, stack trace, route and request id. The error message may
contain user data and stays in the log.
"""

import atexit
from typing import Any

import sentry_sdk
from celery.signals import worker_process_shutdown
from flask import Flask, got_request_exception, request
from sentry_sdk.types import DataCollectionUserOptions, Event, Hint
from sentry_sdk.utils import BadDsn

from app.config import ConfigurationError
from app.observability.metrics import HTTP_METHODS
from app.outbox.dispatcher import Attempt, Outcome, Result
from app.outbox.leases import LeasedMessage
from app.request_context import matched_route, request_context

SHUTDOWN_TIMEOUT_SECONDS = 2
NO_DATA_COLLECTION: DataCollectionUserOptions = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
}


def _remove_messages(event: Event, _hint: Hint) -> Event:
    for error in event.get("exception", {}).get("values", []):
        error["value"] = ""
    return event


def _report_exception(_app: Flask, exception: Exception, **_: Any) -> None:
    method = request.method if request.method in HTTP_METHODS else "_OTHER"
    _report(exception, f"{method} {matched_route() or 'no route'}")


def _report_message(attempt: Attempt, message: LeasedMessage) -> Result:
    outcome, error = attempt(message)
    if error is not None:
        level = "error" if outcome is Outcome.dead else "warning"
        _report(error, f"outbox {message.type}", level=level)
    return outcome, error


def _report(error: Exception, transaction: str, *, level: Any = "error") -> None:
    with sentry_sdk.new_scope() as scope:
        scope.set_transaction_name(transaction)
        scope.set_tag("request_id", request_context().request_id)
        scope.set_level(level)
        sentry_sdk.capture_exception(error)


def _close(**_: Any) -> None:
    sentry_sdk.get_client().close(timeout=SHUTDOWN_TIMEOUT_SECONDS)


def init_app(app: Flask) -> None:
    """Report the errors of an application. Raises ConfigurationError for an invalid SENTRY_DSN."""
    try:
        sentry_sdk.init(
            default_integrations=False,
            auto_enabling_integrations=False,
            before_send=_remove_messages,
            data_collection=NO_DATA_COLLECTION,
            auto_session_tracking=False,
            send_client_reports=False,
            spotlight=False,
        )
    except BadDsn:
        raise ConfigurationError(["SENTRY_DSN is not a valid DSN."]) from None
    got_request_exception.connect(_report_exception)
    app.extensions["outbox_wrappers"].append(_report_message)
    atexit.register(_close)
    # Celery's pool processes exit without running atexit handlers.
    worker_process_shutdown.connect(_close)
