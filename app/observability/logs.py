"""Logging to standard error: JSON lines in production, text in development."""

import logging
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from flask import Flask
from pythonjsonlogger.orjson import OrjsonFormatter

from app.request_context import ResponseEvent, request_context, response_hooks

# What Werkzeug's development server logs.
ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*m")
ACCESS_LINE = re.compile(r'\S+ - - \[[^\]]*\] "%s" %s %s')
REQUEST_LOGGER = logging.getLogger("app.requests")


class JsonFormatter(OrjsonFormatter):
    """Formats each record as one JSON object, with the id of the current request."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger"}
        super().__init__("{levelname}{name}{message}", style="{", rename_fields=names)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; those of ``log_request`` take a faster path."""
        fields: dict[str, Any] | None = getattr(record, "request_fields", None)
        if fields is None:
            return super().format(record)
        common = {
            "time": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return orjson.dumps(common | fields).decode()

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["time"] = _timestamp(record)
        super().add_fields(log_data, record, message_dict)
        if request_id := request_context().request_id:
            log_data["request_id"] = request_id


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat()


class TextFormatter(logging.Formatter):
    """Formats each record as one line, followed by a traceback if there is one."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {message}", "%H:%M:%S", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # overrides logging's
        line = super().formatMessage(record).replace("\r", r"\r").replace("\n", r"\n")
        request_id = request_context().request_id
        return f"{line} [{request_id}]" if request_id else line


def log_formatter(log_format: str) -> logging.Formatter:
    """Return the formatter for ``json`` or ``text``."""
    return JsonFormatter() if log_format == "json" else TextFormatter()


class WerkzeugFilter(logging.Filter):
    """Cleans the lines of ``flask run``: no escape codes, and no second line for each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = ESCAPE_CODES.sub("", str(record.msg))
        return not ACCESS_LINE.fullmatch(record.msg)


def configure_logging(level: str, log_format: str) -> None:
    """Write all log records to standard error, as ``json`` or ``text``."""
    root = logging.getLogger()
    handler = next((handler for handler in root.handlers if handler.name == "app"), None)
    if handler is None:
        handler = logging.StreamHandler()
        handler.name = "app"
        root.addHandler(handler)
    handler.setFormatter(log_formatter(log_format))
    root.setLevel(level)
    werkzeug = logging.getLogger("werkzeug")
    if not werkzeug.filters:
        werkzeug.addFilter(WerkzeugFilter())


def log_request(event: ResponseEvent) -> None:
    """Log a request, without its query string, which may contain personal data."""
    environ, context = event.environ, event.context
    method = quote(environ["REQUEST_METHOD"])
    path = quote(environ["PATH_INFO"].encode("latin-1"))
    fields = {
        "method": environ["REQUEST_METHOD"],
        "route": event.route,
        "path": path,
        "status": event.status,
        "duration_ms": round(event.seconds * 1000, 2),
        "queries": context.queries,
        "user_id": context.user_id,
        "ip_address": context.ip_address,
        "request_id": context.request_id,
    }
    # Logger.info() would inspect the call stack for each request.
    args, extra = (method, path, event.status), {"request_fields": fields}
    record = REQUEST_LOGGER.makeRecord(
        REQUEST_LOGGER.name, logging.INFO, __file__, 0, "%s %s %s", args, None, extra=extra
    )
    REQUEST_LOGGER.handle(record)


def init_app(app: Flask) -> None:
    """Configure logging, and log every request if LOG_LEVEL includes INFO."""
    if not app.testing:
        configure_logging(app.config["LOG_LEVEL"], app.config["LOG_FORMAT"])
    REQUEST_LOGGER.setLevel(app.config["LOG_LEVEL"])
    if REQUEST_LOGGER.isEnabledFor(logging.INFO):
        response_hooks(app.extensions).append(log_request)
