"""Loading of settings from the environment, and the values derived from them."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import click
from sqlalchemy.engine import make_url

from app.config import production
from app.config.integrations import find_missing_packages
from app.config.parsers import database_url
from app.config.secret_keys import generate_missing_secrets, split_secrets
from app.config.settings import ENVIRONMENTS, SETTINGS, Config

ConfigSource = str | type | Mapping[str, Any] | None


class ConfigurationError(click.ClickException):
    """Invalid settings; the message lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Invalid configuration:\n- " + "\n- ".join(problems))


def load(source: ConfigSource = None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the configuration of the application.

    ``source`` is the name of an environment, a class or a mapping. Values of a class or mapping
    take precedence over environment variables, which take precedence over defaults. Raises
    ConfigurationError with one problem per setting, and TypeError for another type of ``source``.
    """
    environment, overrides = _resolve(source, environ)
    values = {**_uppercase_attributes(environment), **overrides}
    problems: dict[str, str] = {}
    if values["PRODUCTION"] and production.is_debug(values, environ):
        problems["FLASK_DEBUG"] = "is on."
    for setting in SETTINGS:
        text = overrides.get(setting.name, environ.get(setting.name) or None)
        if not isinstance(text, str):
            continue
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            problems[setting.name] = f"{error}."
    if values["PRODUCTION"]:
        for name, problem in production.find_problems(values):
            problems.setdefault(name, problem)
    messages = [f"{name} {problem}" for name, problem in problems.items()]
    messages += find_missing_packages(environ)
    if messages:
        raise ConfigurationError(messages)
    if not values["PRODUCTION"]:
        generate_missing_secrets(values)
    return values | _derive(values)


def _resolve(
    source: ConfigSource, environ: Mapping[str, str]
) -> tuple[type[Config], dict[str, Any]]:
    """Return the environment's class and the values that override it."""
    if source is None:
        source = environ.get("FLASK_CONFIG") or "development"
    if isinstance(source, str):
        if source not in ENVIRONMENTS:
            names = ", ".join(ENVIRONMENTS)
            raise ConfigurationError([f"FLASK_CONFIG is {source!r}; it must be one of: {names}."])
        return ENVIRONMENTS[source], {}
    if isinstance(source, type):
        for environment in ENVIRONMENTS.values():
            if issubclass(source, environment):
                defaults = _uppercase_attributes(environment)
                values = _uppercase_attributes(source)
                return environment, {k: v for k, v in values.items() if v != defaults.get(k)}
        source = _uppercase_attributes(source)
    if not isinstance(source, Mapping):
        raise TypeError(f"Expected a name, a class or a mapping, not {type(source).__name__}")
    overrides = {key: value for key, value in source.items() if key.isupper()}
    name = overrides.pop("FLASK_CONFIG", None) or ("testing" if overrides.get("TESTING") else None)
    return _resolve(name, environ)[0], overrides


def _uppercase_attributes(source: type) -> dict[str, Any]:
    return {key: getattr(source, key) for key in dir(source) if key.isupper()}


def _mail_domain(public_url: str) -> str:
    host = urlsplit(public_url).hostname or ""
    return "localhost" if ":" in host else host


def address(values: Mapping[str, Any]) -> str:
    """Return the address that the server listens on; an IPv6 address is in brackets."""
    host = values["HOST"]
    return f"[{host}]:{values['PORT']}" if ":" in host else f"{host}:{values['PORT']}"


def _derive(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the extensions."""
    public_url = values["PUBLIC_URL"] or f"http://{address(values)}"
    uri = database_url(str(values.get("SQLALCHEMY_DATABASE_URI") or values["DATABASE_URL"] or ""))
    engine_options = _engine_options(uri, values)
    sender = values["MAIL_DEFAULT_SENDER"] or f"no-reply@{_mail_domain(public_url)}"
    return {
        "PUBLIC_URL": public_url,
        "PUBLIC_PATH": urlsplit(public_url).path,
        # Lets url_for build URLs outside a request.
        "SERVER_NAME": urlsplit(public_url).netloc,
        "JWT_SECRET_KEYS": split_secrets(values, "JWT_SECRET_KEY"),
        "JWT_ACCESS_TOKEN_EXPIRES": timedelta(minutes=values["ACCESS_TOKEN_MINUTES"]),
        "JWT_REFRESH_TOKEN_EXPIRES": timedelta(days=values["REFRESH_TOKEN_DAYS"]),
        "SESSION_LIFETIME": timedelta(days=values["SESSION_DAYS"]),
        "SQLALCHEMY_DATABASE_URI": uri,
        "SQLALCHEMY_ENGINE_OPTIONS": values.get("SQLALCHEMY_ENGINE_OPTIONS", engine_options),
        "MAIL_BACKEND": values.get("MAIL_BACKEND", _mail_backend(values)),
        "MAIL_USE_TLS": values["MAIL_USE_TLS"] and not values["MAIL_USE_SSL"],
        "MAIL_DEFAULT_SENDER": sender,
        "CELERY_BROKER_URL": values["CELERY_BROKER_URL"] or values["REDIS_URL"],
    }


def _mail_backend(values: Mapping[str, Any]) -> str:
    if values["TESTING"]:
        return "locmem"
    if values["MAIL_SERVER"]:
        return "app.mail.smtp.EmailBackend"
    return "dummy" if values["PRODUCTION"] else "console"


def _engine_options(uri: str, values: Mapping[str, Any]) -> dict[str, Any]:
    url = make_url(uri)
    # Reads need no transaction; app.db.engine begins one before the first write.
    # Parameters are personal data and must not be logged.
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        if url.database in {None, "", ":memory:"}:
            return options
        options["connect_args"] = {"timeout": values["DB_POOL_TIMEOUT"] * 3}
    else:
        timeout = values["DB_TIMEOUT"]
        # The server cancels a statement before our own timeout closes the connection.
        settings = (
            f"-c timezone=UTC -c statement_timeout={timeout * 900}"
            f" -c idle_in_transaction_session_timeout={timeout * 1000}"
        )
        options["connect_args"] = {"options": settings, "connect_timeout": timeout}
    return options | {
        "pool_size": values["THREADS"],
        "max_overflow": 0,
        "pool_use_lifo": True,
        "pool_timeout": values["DB_POOL_TIMEOUT"],
    }
