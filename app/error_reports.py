"""Reports of crashed requests and failed jobs, for Sentry.

A report holds the error's type, where in the code it came up, the route and the request's id. What
an error says may hold what users wrote, and stays in the log.
"""

import atexit
from typing import Any

import sentry_sdk
from celery.signals import worker_process_shutdown
from flask import Flask, got_request_exception, request
from sentry_sdk.types import DataCollectionUserOptions, Event, Hint
from sentry_sdk.utils import BadDsn

from app.config import ConfigurationError
from app.metrics import METHODS
from app.origin import origin
from app.outbox.items import Claim
from app.outbox.work import Attempt, Ended, Outcome

# How long a process that ends may take to send what it has left, in seconds.
PATIENCE = 2
# What the SDK may gather by itself.
NOTHING: DataCollectionUserOptions = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
}


def _without_words(event: Event, _hint: Hint) -> Event:
    """Take out what errors say."""
    for error in event.get("exception", {}).get("values", []):
        error["value"] = ""
    return event


def _report_crash(_app: Flask, exception: Exception, **_: Any) -> None:
    method = request.method if request.method in METHODS else "_OTHER"
    _report(exception, f"{method} {origin().route or 'no route'}")


def _around_job(attempt: Attempt, item: Claim) -> Ended:
    outcome, error = attempt(item)
    if error is not None:
        given_up = outcome is Outcome.given_up
        _report(error, f"job {item.kind}", level="error" if given_up else "warning")
    return outcome, error


def _report(error: Exception, what: str, *, level: Any = "error") -> None:
    with sentry_sdk.new_scope() as scope:
        scope.set_transaction_name(what)
        scope.set_tag("request_id", origin().request_id)
        scope.set_level(level)
        sentry_sdk.capture_exception(error)


def _close(**_: Any) -> None:
    sentry_sdk.get_client().close(timeout=PATIENCE)


def _start() -> None:
    """Start the SDK, which reads its variables, without what looks for more to send.

    Raises ConfigurationError.
    """
    try:
        sentry_sdk.init(
            default_integrations=False,
            auto_enabling_integrations=False,
            before_send=_without_words,
            data_collection=NOTHING,
            auto_session_tracking=False,
            send_client_reports=False,
            spotlight=False,
        )
    except BadDsn:
        raise ConfigurationError(
            "The configuration is not usable:\n- SENTRY_DSN is not the DSN of a project."
        ) from None


def init_app(app: Flask) -> None:
    """Report what crashes in an application."""
    _start()
    got_request_exception.connect(_report_crash)
    app.extensions["around_jobs"].append(_around_job)
    atexit.register(_close)
    # The end of a process of Celery's pool is none that Python tells of.
    worker_process_shutdown.connect(_close)
