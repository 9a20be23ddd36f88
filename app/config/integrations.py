"""Optional integrations: OpenTelemetry and Sentry, enabled by their own environment variables.

Their packages are not part of the default installation.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import NamedTuple

INSTALL = 'pipenv sync --categories "packages observability"'
OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Integration(NamedTuple):
    """An optional integration: the variable that enables it and the modules that it needs."""

    variable: str
    requires: tuple[str, ...]
    module: str


def enabled_integrations(environ: Mapping[str, str]) -> Iterator[Integration]:
    """Yield the integrations that environment variables enable."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    endpoint = next((name for name in OTLP_ENDPOINTS if environ.get(name)), None)
    if endpoint and not disabled and environ.get("OTEL_TRACES_EXPORTER") != "none":
        requires = (
            "opentelemetry.sdk.trace",
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        )
        yield Integration(endpoint, requires, "app.observability.tracing")
    if environ.get("SENTRY_DSN"):
        yield Integration("SENTRY_DSN", ("sentry_sdk",), "app.observability.sentry")


def find_missing_packages(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a problem for each enabled integration whose packages are not installed."""
    for integration in enabled_integrations(environ):
        try:
            for module in integration.requires:
                import_module(module)
        except ImportError:
            name = integration.variable
            yield f"{name} is set, but its packages are not installed: run {INSTALL}"
