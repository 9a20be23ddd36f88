"""Checks that production makes at startup."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from app.config.parsers import boolean
from app.config.secret_keys import SECRET_KEYS, is_placeholder, split_secrets

MIN_SECRET_BYTES = 32


def is_debug(values: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Return whether debug mode is on, or FLASK_DEBUG has an unknown value."""
    try:
        return bool(values["DEBUG"] or boolean(environ.get("FLASK_DEBUG", "")))
    except ValueError:
        return True


def find_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each unsafe or missing setting with its problem."""
    yield from _secret_problems(values)
    if not values["PUBLIC_URL"]:
        yield "PUBLIC_URL", "is not set."
    elif urlsplit(values["PUBLIC_URL"]).scheme != "https" and not values["ALLOW_HTTP"]:
        yield "PUBLIC_URL", "is not https; set ALLOW_HTTP=1 to allow it in production."
    if values["CORS_ORIGINS"] == ["*"]:
        yield "CORS_ORIGINS", "allows every origin; list the origins."
    database = str(values.get("SQLALCHEMY_DATABASE_URI") or values["DATABASE_URL"] or "")
    if not database:
        yield "DATABASE_URL", "is not set."
    if database.startswith("sqlite") and not values["ALLOW_SQLITE"]:
        yield "DATABASE_URL", "is SQLite; set ALLOW_SQLITE=1 to allow it in production."


def _secret_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in SECRET_KEYS:
        secrets = split_secrets(values, name)
        if not secrets:
            yield name, "is not set."
        for secret in secrets:
            if len(secret.encode()) < MIN_SECRET_BYTES:
                yield name, f"is shorter than {MIN_SECRET_BYTES} bytes."
            elif is_placeholder(secret):
                yield name, "is a placeholder."
