"""Trusted reverse proxies."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix


def init_app(app: Flask) -> None:
    """Trust the last TRUSTED_PROXIES values of X-Forwarded-For and X-Forwarded-Proto.

    X-Forwarded-Host is never trusted: links start with PUBLIC_URL.
    """
    if count := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]  # as Flask documents
