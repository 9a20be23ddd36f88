"""What may be set, from the environment; production refuses what is unsafe."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from limits import parse_many
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app import observability

ROOT = Path(__file__).resolve().parent.parent
SECRETS = ("SECRET_KEY", "JWT_SECRET_KEY")
SECRET_BYTES = 32

ConfigSource = str | type | Mapping[str, Any] | None


class ConfigurationError(click.ClickException):
    """The settings do not make a service that can be run; the message names every fault."""


def boolean(text: str) -> bool:
    """Read a switch. Raises ValueError for anything but the usual words."""
    word = text.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("must be 1 or 0")


def positive(text: str) -> int:
    """Read a whole number of at least one. Raises ValueError otherwise."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text.strip()):
        raise ValueError("must be a whole number of at least 1")
    return int(text)


def base_url(text: str) -> str:
    """Read the address that clients use. Raises ValueError unless it is an http(s) URL."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://api.example.com")
    return text.strip().rstrip("/")


def database_url(text: str) -> str:
    """Read a database URL, naming our PostgreSQL driver. Raises ValueError otherwise."""
    try:
        url = make_url(text.strip())
    except ArgumentError:
        raise ValueError("must be a URL such as postgresql://user:password@host/database") from None
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"postgresql+psycopg", "sqlite", "sqlite+pysqlite"}:
        raise ValueError("must start with sqlite:// or postgresql://")
    return url.render_as_string(hide_password=False)


def mailbox(text: str) -> str:
    """Read the address that mail comes from, named or not. Raises ValueError otherwise."""
    _, address = parseaddr(text)
    if not text.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise ValueError("must be an address such as Tasks <tasks@example.com>")
    return text.strip()


def count(text: str) -> int:
    """Read a whole number. Raises ValueError otherwise."""
    if not re.fullmatch(r"[0-9]{1,3}", text.strip()):
        raise ValueError("must be a whole number")
    return int(text)


def rate(text: str) -> str:
    """Read how often something may be. Raises ValueError unless it is a count per time."""
    try:
        told = parse_many(text)
    except ValueError:
        told = []
    if not told or any(item.amount < 1 or item.multiples < 1 for item in told):
        raise ValueError("must be a rate such as 5 per minute, or 10 per 15 minutes")
    return text.strip()


def redis_url(text: str) -> str:
    """Read the address of a Redis server. Raises ValueError otherwise."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("must be a URL such as redis://127.0.0.1:6379/0")
    return text.strip()


def broker_url(text: str) -> str:
    """Read the address of Celery's broker. Raises ValueError otherwise."""
    parts = urlsplit(text.strip())
    if parts.scheme not in {"amqp", "amqps", "redis", "rediss"} or not parts.hostname:
        raise ValueError("must be a URL such as amqp://user:password@host/vhost or redis://host/1")
    return text.strip()


def hosts(text: str) -> list[str]:
    """Read names of hosts, comma-separated. Raises ValueError for what is none."""
    named = _listed(text.lower())
    if not all(re.fullmatch(r"\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name) for name in named):
        raise ValueError("must be names of hosts such as api.example.com, comma-separated")
    return named


def origins(text: str) -> list[str]:
    """Read origins of web pages, comma-separated, or `*`. Raises ValueError for what is none."""
    named = _listed(text.lower())
    origin = r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
    if named != ["*"] and not all(re.fullmatch(origin, name) for name in named):
        raise ValueError("must be origins such as https://app.example.com, comma-separated, or *")
    return named


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def log_level(text: str) -> str:
    """Read the name of a logging level. Raises ValueError for any other word."""
    word = text.strip().upper()
    if word not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return word


def log_format(text: str) -> str:
    """Read the form of log lines. Raises ValueError for any other word."""
    word = text.strip().lower()
    if word not in {"json", "text"}:
        raise ValueError("must be json or text")
    return word


@dataclass(frozen=True)
class Setting:
    """One thing that may be set: how its text is read, and what it is for."""

    name: str
    read: Callable[[str], Any]
    purpose: str


SETTINGS = (
    Setting("DATABASE_URL", database_url, "The database: `sqlite:///` or `postgresql://`."),
    Setting(
        "SECRET_KEY",
        str,
        "Signs cursors and challenges, and encrypts second factors. At least 32 bytes.",
    ),
    Setting(
        "JWT_SECRET_KEY",
        str,
        "Signs tokens. At least 32 bytes. Several, comma-separated: the first signs, all verify.",
    ),
    Setting("PUBLIC_URL", base_url, "The address that clients use; every link starts with it."),
    Setting("ALLOW_SQLITE", boolean, "Lets production run on SQLite."),
    Setting("INSTANCE_PATH", str, "The folder of the embedded database and the made secrets."),
    Setting("HOST", str, "The address that the server listens on."),
    Setting("PORT", positive, "The port that the server listens on."),
    Setting("WEB_CONCURRENCY", positive, "Worker processes."),
    Setting("THREADS", positive, "Threads, and database connections, of each worker."),
    Setting("DB_POOL_TIMEOUT", positive, "Seconds to wait for a free database connection."),
    Setting("DB_TIMEOUT", positive, "Seconds to wait for PostgreSQL to answer a statement."),
    Setting("ACCESS_TOKEN_MINUTES", positive, "How long an access token lives."),
    Setting("REFRESH_TOKEN_DAYS", positive, "How long a session lives without being refreshed."),
    Setting("SESSION_DAYS", positive, "How long a session lives, refreshed or not."),
    Setting(
        "REQUIRE_ADMIN_SECOND_FACTOR",
        boolean,
        "Gives administrators their rights only with a second factor.",
    ),
    Setting("MAIL_SERVER", str, "The SMTP server that sends mail; without one, production can't."),
    Setting("MAIL_PORT", positive, "Its port."),
    Setting("MAIL_USE_TLS", boolean, "Encrypts by STARTTLS; the certificate must be good."),
    Setting("MAIL_USE_SSL", boolean, "Encrypts from the first byte instead, as port 465 wants."),
    Setting("MAIL_USERNAME", str, "The name to log in to it with."),
    Setting("MAIL_PASSWORD", str, "The password of that name."),
    Setting("MAIL_DEFAULT_SENDER", mailbox, "Whom mail comes from."),
    Setting("MAIL_TIMEOUT", positive, "Seconds to wait for the mail server."),
    Setting("APP_URL", base_url, "The front end that links in mails lead to."),
    Setting("MAX_CONTENT_LENGTH", positive, "The largest request body, in bytes."),
    Setting("MAX_UPLOAD_LENGTH", positive, "The largest file to import, in bytes."),
    Setting("JOB_DAYS", positive, "How long exports, imports and their files are kept, in days."),
    Setting(
        "REDIS_URL", redis_url, "Shares the counts of rate limits; the broker, without another."
    ),
    Setting(
        "CELERY_BROKER_URL", broker_url, "Carries work to Celery's workers, in place of REDIS_URL."
    ),
    Setting("RATELIMIT_ENABLED", boolean, "Limits how often one may ask."),
    Setting("RATE_LIMIT_READS", rate, "How often a user, or a stranger's address, may read."),
    Setting("RATE_LIMIT_WRITES", rate, "How often either may write."),
    Setting("RATE_LIMIT_LOGIN", rate, "How often an address may log in."),
    Setting("RATE_LIMIT_LOGIN_ACCOUNT", rate, "How often a password of an account may be tried."),
    Setting("RATE_LIMIT_REGISTER", rate, "How often an address may register."),
    Setting("RATE_LIMIT_REGISTER_ACCOUNT", rate, "How often one email address may be registered."),
    Setting("RATE_LIMIT_RECOVERY", rate, "How often an address may make each call of recovery."),
    Setting("RATE_LIMIT_RECOVERY_ACCOUNT", rate, "How often mail to one account may be asked for."),
    Setting("RATE_LIMIT_REFRESH", rate, "How often an address may refresh sessions."),
    Setting("RATE_LIMIT_REFRESH_ACCOUNT", rate, "How often the sessions of an account may be."),
    Setting("TRUSTED_PROXIES", count, "Proxies in front, whose word on the client is taken."),
    Setting("TRUSTED_HOSTS", hosts, "The hosts that requests may name; all where none is set."),
    Setting("CORS_ORIGINS", origins, "The origins whose pages may call from a browser, or `*`."),
    Setting("CLIENT_TIMEOUT", positive, "Seconds that a client may take to send or to read."),
    Setting("AUDIT_DAYS", positive, "How long it is kept who did what, in days."),
    Setting("LOG_LEVEL", log_level, "The least level of message that is logged."),
    Setting("METRICS", boolean, "Tells Prometheus at `/metrics` what the service does."),
    Setting("LOG_FORMAT", log_format, "`json`, a line for programs, or `text`, one for people."),
)


class Config:
    """What every environment starts from."""

    DEBUG = False
    TESTING = False
    PRODUCTION = False

    DATABASE_URL: str | None = None
    SECRET_KEY: str | None = None
    JWT_SECRET_KEY: str | None = None
    PUBLIC_URL: str | None = None
    ALLOW_SQLITE = False
    INSTANCE_PATH = str(ROOT / "instance")
    HOST = "127.0.0.1"
    PORT = 5000
    WEB_CONCURRENCY = 2
    THREADS = 16
    DB_POOL_TIMEOUT = 10
    DB_TIMEOUT = 10
    ACCESS_TOKEN_MINUTES = 15
    REFRESH_TOKEN_DAYS = 30
    SESSION_DAYS = 90
    REQUIRE_ADMIN_SECOND_FACTOR = False
    MAIL_SERVER: str | None = None
    MAIL_PORT = 587
    MAIL_USE_TLS = True
    MAIL_USE_SSL = False
    MAIL_USERNAME: str | None = None
    MAIL_PASSWORD: str | None = None
    MAIL_DEFAULT_SENDER: str | None = None
    MAIL_TIMEOUT = 10
    APP_URL: str | None = None
    MAX_CONTENT_LENGTH = 1024 * 1024
    MAX_UPLOAD_LENGTH = 64 * 1024 * 1024
    JOB_DAYS = 7
    REDIS_URL: str | None = None
    CELERY_BROKER_URL: str | None = None
    RATELIMIT_ENABLED = True
    RATE_LIMIT_READS = "1200 per minute"
    RATE_LIMIT_WRITES = "300 per minute"
    RATE_LIMIT_LOGIN = "5 per minute"
    RATE_LIMIT_LOGIN_ACCOUNT = "10 per 15 minutes"
    RATE_LIMIT_REGISTER = "5 per minute"
    RATE_LIMIT_REGISTER_ACCOUNT = "10 per 15 minutes"
    RATE_LIMIT_RECOVERY = "5 per minute"
    RATE_LIMIT_RECOVERY_ACCOUNT = "10 per 15 minutes"
    RATE_LIMIT_REFRESH = "5 per minute"
    RATE_LIMIT_REFRESH_ACCOUNT = "10 per 15 minutes"
    TRUSTED_PROXIES = 0
    TRUSTED_HOSTS: list[str] | None = None
    CORS_ORIGINS: list[str] | None = None
    CLIENT_TIMEOUT = 30
    AUDIT_DAYS = 365
    LOG_LEVEL = "INFO"
    METRICS = False
    LOG_FORMAT = "text"

    API_TITLE = "Task API"
    API_VERSION = "1.0.0"
    OPENAPI_VERSION = "3.1.0"

    JWT_ALGORITHM = "HS256"
    # Tokens come in the Authorization header alone, so there is no request to forge.
    JWT_COOKIE_CSRF_PROTECT = False
    JWT_ENCODE_ISSUER = JWT_DECODE_ISSUER = "task-api"
    JWT_ENCODE_AUDIENCE = JWT_DECODE_AUDIENCE = "task-api"


class Development(Config):
    """On a developer's machine: nothing has to be set."""

    DATABASE_URL = "sqlite:///tasks.db"


class Testing(Config):
    """Under a test runner: nothing has to be set."""

    TESTING = True
    DATABASE_URL = "sqlite:///testing.db"
    RATELIMIT_ENABLED = False


class Production(Config):
    """Facing clients: nothing unsafe is defaulted."""

    PRODUCTION = True
    LOG_FORMAT = "json"


ENVIRONMENTS: Mapping[str, type[Config]] = {
    "development": Development,
    "testing": Testing,
    "production": Production,
}


def load(config: ConfigSource = None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return every setting of the application.

    ``config`` is a name from ENVIRONMENTS, a class or a mapping; what a class or a mapping says
    wins over the environment, which wins over the defaults. Raises ConfigurationError with every
    fault, one for each setting, and TypeError for a ``config`` of any other kind.
    """
    base, chosen = _environment(config, environ)
    values = {**_upper(base), **chosen}
    faults = _debug_faults(values, environ) if values["PRODUCTION"] else {}
    for setting in SETTINGS:
        text = chosen.get(setting.name, environ.get(setting.name) or None)
        if not isinstance(text, str):
            continue
        try:
            values[setting.name] = setting.read(text)
        except ValueError as error:
            faults[setting.name] = f"{error}."
    if values["PRODUCTION"]:
        for name, fault in _production_faults(values):
            # What could not be read is not missing as well.
            faults.setdefault(name, fault)
    told = [f"{name} {fault}" for name, fault in faults.items()]
    told += observability.faults(environ)
    if told:
        raise ConfigurationError("The configuration is not usable:\n- " + "\n- ".join(told))
    if not values["PRODUCTION"]:
        _make_secrets(values)
    return _derived(values)


def _environment(
    config: ConfigSource, environ: Mapping[str, str]
) -> tuple[type[Config], dict[str, Any]]:
    """Tell which environment to start from, and what the caller says on top of it."""
    if config is None:
        config = environ.get("FLASK_CONFIG") or "development"
    if isinstance(config, str):
        if config not in ENVIRONMENTS:
            known = ", ".join(ENVIRONMENTS)
            raise ConfigurationError(f"FLASK_CONFIG is {config!r}; it must be one of: {known}.")
        return ENVIRONMENTS[config], {}
    if isinstance(config, type):
        for known_class in ENVIRONMENTS.values():
            if issubclass(config, known_class):
                said = _upper(config)
                default = _upper(known_class)
                return known_class, {k: v for k, v in said.items() if v != default.get(k)}
        config = _upper(config)
    if not isinstance(config, Mapping):
        kind = type(config).__name__
        raise TypeError(f"Settings come from a name, a class or a mapping, not {kind}")
    chosen = {key: value for key, value in config.items() if key.isupper()}
    name = chosen.pop("FLASK_CONFIG", None)
    if name is None:
        name = "testing" if chosen.get("TESTING") else None
    return _environment(name, environ)[0], chosen


def _upper(source: type) -> dict[str, Any]:
    return {key: getattr(source, key) for key in dir(source) if key.isupper()}


def _debug_faults(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    try:
        debug = values["DEBUG"] or boolean(environ.get("FLASK_DEBUG", ""))
    except ValueError:
        debug = True
    return {"FLASK_DEBUG": "is on."} if debug else {}


def _production_faults(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell what is not safe, by setting; the first of a setting is the one to tell."""
    for name in SECRETS:
        if not _secrets(values, name):
            yield name, "is not set."
        for secret in _secrets(values, name):
            if len(secret.encode()) < SECRET_BYTES:
                yield name, f"is shorter than {SECRET_BYTES} bytes."
            elif is_placeholder(secret):
                yield name, "is a placeholder."
    if not values["PUBLIC_URL"]:
        yield "PUBLIC_URL", "is not set."
    if not _database(values):
        yield "DATABASE_URL", "is not set."
    if _database(values).startswith("sqlite") and not values["ALLOW_SQLITE"]:
        yield "DATABASE_URL", "is SQLite; set ALLOW_SQLITE=1 if that is meant."


# What is made of these alone, and not of the harmless ones alone, stands in somebody's example.
PLACEHOLDER = re.compile(
    r"(?=.*(?:change|replace|placeholder|your|example|insecure|todo|default|generate|guess|password"
    r"|production|super|very|this|secretsecret))"
    r"(?:change|me|replace|this|is|with|your|you|an?|the|my|not|do|use|will|never|guess|hard|only"
    r"|secret|key|jwt|super|very|random|string|phrase|word|pass|please|now|placeholder|default"
    r"|generate|openssl|rand|dev|development|test|testing|django|flask|insecure|example|todo|in|and"
    r"|production|value|here|to|for|long|enough|own|of|at|least|bytes|characters|[0-9])+"
)


def is_placeholder(secret: str) -> bool:
    """Tell whether a secret is only the words of some example, such as ``change-me-please``."""
    return PLACEHOLDER.fullmatch(re.sub(r"[\W_]", "", secret.lower())) is not None


def _database(values: Mapping[str, Any]) -> str:
    return str(values.get("SQLALCHEMY_DATABASE_URI") or values["DATABASE_URL"] or "")


def _secrets(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the secrets that a setting holds: of those that sign tokens there may be several."""
    text = values[name] or ""
    parts = text.split(",") if name == "JWT_SECRET_KEY" else [text]
    return [part.strip() for part in parts if part.strip()]


def _make_secrets(values: dict[str, Any]) -> None:
    """Fill in what is not set from the instance folder, where it is made on first use."""
    for name in SECRETS:
        if not _secrets(values, name):
            values[name] = kept_secret(Path(values["INSTANCE_PATH"]) / name.lower())


def kept_secret(path: Path) -> str:
    """Return the secret that a file keeps, made with mode 0600 where there is none.

    Processes that start together agree: whoever links the finished file first has made it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def _derived(values: dict[str, Any]) -> dict[str, Any]:
    """Say in the extensions' own words what was set in ours."""
    values["PUBLIC_URL"] = values["PUBLIC_URL"] or f"http://{values['HOST']}:{values['PORT']}"
    values["JWT_SECRET_KEYS"] = _secrets(values, "JWT_SECRET_KEY")
    values["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(minutes=values["ACCESS_TOKEN_MINUTES"])
    values["JWT_REFRESH_TOKEN_EXPIRES"] = timedelta(days=values["REFRESH_TOKEN_DAYS"])
    values["SESSION_LIFETIME"] = timedelta(days=values["SESSION_DAYS"])
    values["SQLALCHEMY_DATABASE_URI"] = database_url(_database(values))
    values.setdefault("SQLALCHEMY_ENGINE_OPTIONS", _engine_options(values))
    values.setdefault("MAIL_BACKEND", _mail_backend(values))
    values["CELERY_BROKER_URL"] = values["CELERY_BROKER_URL"] or values["REDIS_URL"]
    values["MAIL_USE_TLS"] = values["MAIL_USE_TLS"] and not values["MAIL_USE_SSL"]
    host = urlsplit(values["PUBLIC_URL"]).hostname
    values["MAIL_DEFAULT_SENDER"] = values["MAIL_DEFAULT_SENDER"] or f"no-reply@{host}"
    return values


def _mail_backend(values: Mapping[str, Any]) -> str:
    """Tell where mail goes: to memory, a server, the console or, in production alone, nowhere."""
    if values["TESTING"]:
        return "locmem"
    if values["MAIL_SERVER"]:
        return "app.mail.smtp.EmailBackend"
    return "dummy" if values["PRODUCTION"] else "console"


def _engine_options(values: Mapping[str, Any]) -> dict[str, Any]:
    url = make_url(values["SQLALCHEMY_DATABASE_URI"])
    # Statements that only read need no transaction; app.database begins one before the first write.
    # Values are people's; they have no place in a log.
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        if url.database in {None, "", ":memory:"}:
            return options
        options["connect_args"] = {"timeout": values["DB_POOL_TIMEOUT"] * 3}
    else:
        options["connect_args"] = _postgresql_options(values["DB_TIMEOUT"])
    pool = {"pool_size": values["THREADS"], "max_overflow": 0, "pool_use_lifo": True}
    return options | pool | {"pool_timeout": values["DB_POOL_TIMEOUT"]}


def _postgresql_options(seconds: int) -> dict[str, Any]:
    # The server gives up a little before we do, and the connection remains good.
    told = {
        "timezone": "UTC",
        "statement_timeout": seconds * 900,
        "idle_in_transaction_session_timeout": seconds * 1000,
    }
    options = " ".join(f"-c {name}={value}" for name, value in told.items())
    return {"options": options, "connect_timeout": seconds}
