"""Traces and reports of errors, which the environment asks for by its standard variables.

They need packages that most installations do without, so nothing of them is imported unasked.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from flask import Flask

INSTALL = 'pipenv sync --categories "packages observability"'
# OpenTelemetry's own, each of which names a receiver.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(frozen=True)
class Option:
    """What a variable asks for: the packages' modules, and ours that uses them."""

    variable: str
    needs: tuple[str, ...]
    module: str


def faults(environ: Mapping[str, str]) -> list[str]:
    """Tell what is asked for and not installed."""
    return [
        f"{option.variable} is set, but what it needs is not installed: {INSTALL}"
        for option in wanted(environ)
        if not all(_is_installed(module) for module in option.needs)
    ]


def wanted(environ: Mapping[str, str]) -> Iterator[Option]:
    """Tell what is asked for."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    endpoint = next((name for name in ENDPOINTS if environ.get(name)), None)
    if endpoint and not disabled and environ.get("OTEL_TRACES_EXPORTER") != "none":
        needs = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
        yield Option(endpoint, needs, "app.tracing")
    if environ.get("SENTRY_DSN"):
        yield Option("SENTRY_DSN", ("sentry_sdk",), "app.error_reports")


def _is_installed(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def init_app(app: Flask) -> None:
    """Switch on what the environment asks for."""
    for option in wanted(os.environ):
        import_module(option.module).init_app(app)
