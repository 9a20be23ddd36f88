"""Absolute URLs, which start with PUBLIC_URL and never with what a client sent as Host."""

from typing import Any

from flask import current_app, url_for


def absolute_url(endpoint: str, **values: Any) -> str:
    """Return the public URL of an endpoint."""
    return f"{current_app.config['PUBLIC_URL']}{url_for(endpoint, _external=False, **values)}"
