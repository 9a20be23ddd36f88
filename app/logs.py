"""Log lines: JSON for machines in production, readable for people in development."""

import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from flask import Flask
from pythonjsonlogger.orjson import OrjsonFormatter

from app.origin import Answered, observers, origin

REQUESTS = logging.getLogger("app.requests")


class ForPrograms(OrjsonFormatter):
    """One JSON object a line, with the id of the request that it is about."""

    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger"},
        )

    def format(self, record: logging.LogRecord) -> str:
        """Write a request's line without a look at what else a line may have."""
        told: dict[str, Any] | None = getattr(record, "told", None)
        if told is None:
            return super().format(record)
        shared = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return orjson.dumps(shared | told).decode()

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        log_data["time"] = _time_of(record)
        super().add_fields(log_data, record, message_dict)
        if request_id := origin().request_id:
            log_data["request_id"] = request_id


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat()


class ForPeople(logging.Formatter):
    """One line a message, and below it the traceback where there is one."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {message}", "%H:%M:%S", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own
        line = super().formatMessage(record).replace("\r", r"\r").replace("\n", r"\n")
        request_id = origin().request_id
        return f"{line} [{request_id}]" if request_id else line


def write_to_stderr(level: str, form: str) -> None:
    """Send what anything logs to standard error, as ``json`` or ``text``."""
    root = logging.getLogger()
    handler = next((held for held in root.handlers if held.name == "app"), None)
    if handler is None:
        handler = logging.StreamHandler()
        handler.name = "app"
        root.addHandler(handler)
    handler.setFormatter(ForPrograms() if form == "json" else ForPeople())
    root.setLevel(level)


def log_request(answered: Answered) -> None:
    """Log the request: which route, how it was answered, how long it took and what it asked.

    A query may hold what people search for, and is left out.
    """
    environ, seen = answered.environ, answered.origin
    method = quote(environ["REQUEST_METHOD"])
    path = quote(environ["PATH_INFO"].encode("latin-1"))
    told = {
        "method": environ["REQUEST_METHOD"],
        "route": seen.route,
        "path": path,
        "status": answered.status,
        "duration_ms": round(answered.seconds * 1000, 2),
        "queries": seen.queries,
        "user_id": seen.user_id,
        "ip_address": seen.ip_address,
        "request_id": seen.request_id,
    }
    said = (method, path, answered.status)
    # Where the line was written is always here, and need not be looked for.
    line = REQUESTS.makeRecord(
        REQUESTS.name, logging.INFO, __file__, 0, "%s %s %s", said, None, extra={"told": told}
    )
    REQUESTS.handle(line)


def init_app(app: Flask) -> None:
    """Log every request, unless LOG_LEVEL leaves such lines out."""
    if not app.testing:
        write_to_stderr(app.config["LOG_LEVEL"], app.config["LOG_FORMAT"])
    REQUESTS.setLevel(app.config["LOG_LEVEL"])
    if REQUESTS.isEnabledFor(logging.INFO):
        observers(app.extensions).append(log_request)
