"""Logging, Prometheus metrics, OpenTelemetry traces and Sentry reports."""

import os
from importlib import import_module

from flask import Flask

from app.config.integrations import enabled_integrations


def init_app(app: Flask) -> None:
    """Initialize the integrations that environment variables enable.

    Their modules are imported only then, because most installations lack the packages.
    """
    for integration in enabled_integrations(os.environ):
        import_module(integration.module).init_app(app)
