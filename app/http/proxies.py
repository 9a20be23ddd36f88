"""Whom to believe about where a request came from."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix


def init_app(app: Flask) -> None:
    """Take a client's address and scheme from TRUSTED_PROXIES, else from its connection alone.

    Its word on the host is never taken: what links start with is PUBLIC_URL.
    """
    if count := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=0)  # type: ignore[method-assign]
