"""Settings: names, parsers, descriptions and defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.config import parsers

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Setting:
    """An environment variable that configures the application."""

    name: str
    parse: Callable[[str], Any]
    description: str


SETTINGS = (
    Setting("DATABASE_URL", parsers.database_url, "Database: `sqlite:///` or `postgresql://`."),
    Setting(
        "SECRET_KEY",
        str,
        "Signs cursors and login challenges, encrypts TOTP secrets. At least 32 bytes.",
    ),
    Setting(
        "JWT_SECRET_KEY",
        str,
        "Signs tokens. At least 32 bytes. With several, comma-separated, the first signs and all"
        " verify.",
    ),
    Setting("PUBLIC_URL", parsers.base_url, "Base URL of every link in responses and emails."),
    Setting("ALLOW_SQLITE", parsers.boolean, "Allows SQLite in production."),
    Setting("INSTANCE_PATH", str, "Directory of the SQLite database and the generated secrets."),
    Setting("HOST", str, "Address that the server listens on."),
    Setting("PORT", parsers.positive_integer, "Port that the server listens on."),
    Setting("WEB_CONCURRENCY", parsers.positive_integer, "Number of worker processes."),
    Setting(
        "THREADS", parsers.positive_integer, "Threads and database connections of each worker."
    ),
    Setting(
        "DB_POOL_TIMEOUT",
        parsers.positive_integer,
        "Seconds to wait for a free database connection.",
    ),
    Setting("DB_TIMEOUT", parsers.positive_integer, "Seconds until a PostgreSQL query times out."),
    Setting(
        "ACCESS_TOKEN_MINUTES", parsers.positive_integer, "Lifetime of access tokens in minutes."
    ),
    Setting(
        "REFRESH_TOKEN_DAYS",
        parsers.positive_integer,
        "Lifetime of refresh tokens in days; an idle session ends with its refresh token.",
    ),
    Setting("SESSION_DAYS", parsers.positive_integer, "Maximum lifetime of a session in days."),
    Setting(
        "REQUIRE_ADMIN_SECOND_FACTOR",
        parsers.boolean,
        "Grants administrators their rights only if they have a second factor.",
    ),
    Setting("MAIL_SERVER", str, "SMTP server; without one, production sends no email."),
    Setting("MAIL_PORT", parsers.positive_integer, "Port of the SMTP server."),
    Setting(
        "MAIL_USE_TLS", parsers.boolean, "Uses STARTTLS and verifies the server's certificate."
    ),
    Setting("MAIL_USE_SSL", parsers.boolean, "Uses implicit TLS (port 465) instead of STARTTLS."),
    Setting("MAIL_USERNAME", str, "User name for the SMTP server."),
    Setting("MAIL_PASSWORD", str, "Password for the SMTP server."),
    Setting("MAIL_DEFAULT_SENDER", parsers.email_address, "`From` address of emails."),
    Setting("MAIL_TIMEOUT", parsers.positive_integer, "Timeout of the SMTP server in seconds."),
    Setting("APP_URL", parsers.base_url, "Base URL of the front end that emails link to."),
    Setting(
        "MAX_CONTENT_LENGTH", parsers.positive_integer, "Maximum size of a request body in bytes."
    ),
    Setting(
        "MAX_UPLOAD_LENGTH", parsers.positive_integer, "Maximum size of an import file in bytes."
    ),
    Setting("JOB_DAYS", parsers.positive_integer, "Retention of exports, imports and their files."),
    Setting(
        "REDIS_URL", parsers.redis_url, "Redis for shared rate limits, and the default broker."
    ),
    Setting(
        "CELERY_BROKER_URL", parsers.broker_url, "Celery broker, if it is another than `REDIS_URL`."
    ),
    Setting("RATELIMIT_ENABLED", parsers.boolean, "Enables rate limits."),
    Setting("RATE_LIMIT_READS", parsers.rate_limit, "Read requests per user or anonymous address."),
    Setting(
        "RATE_LIMIT_WRITES", parsers.rate_limit, "Write requests per user or anonymous address."
    ),
    Setting("RATE_LIMIT_LOGIN", parsers.rate_limit, "Login requests per address."),
    Setting("RATE_LIMIT_LOGIN_ACCOUNT", parsers.rate_limit, "Password attempts per account."),
    Setting("RATE_LIMIT_REGISTER", parsers.rate_limit, "Registrations per address."),
    Setting("RATE_LIMIT_REGISTER_ACCOUNT", parsers.rate_limit, "Registrations per email address."),
    Setting(
        "RATE_LIMIT_RECOVERY",
        parsers.rate_limit,
        "Requests to each account recovery endpoint per address.",
    ),
    Setting("RATE_LIMIT_RECOVERY_ACCOUNT", parsers.rate_limit, "Recovery emails per account."),
    Setting("RATE_LIMIT_REFRESH", parsers.rate_limit, "Refresh requests per address."),
    Setting("RATE_LIMIT_REFRESH_ACCOUNT", parsers.rate_limit, "Refresh requests per account."),
    Setting(
        "TRUSTED_PROXIES",
        parsers.non_negative_integer,
        "Number of reverse proxies whose `X-Forwarded-*` headers are trusted.",
    ),
    Setting("TRUSTED_HOSTS", parsers.host_names, "Accepted `Host` headers; all by default."),
    Setting("CORS_ORIGINS", parsers.origins, "Origins allowed by CORS, or `*` for all."),
    Setting("AUDIT_DAYS", parsers.positive_integer, "Retention of audit events in days."),
    Setting("LOG_LEVEL", parsers.log_level, "Minimum level of log messages."),
    Setting("METRICS", parsers.boolean, "Enables `/metrics` for Prometheus."),
    Setting("LOG_FORMAT", parsers.log_format, "Format of log lines: `json` or `text`."),
)


class Config:
    """Defaults of every environment."""

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
    THREADS = 4
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
    AUDIT_DAYS = 365
    LOG_LEVEL = "INFO"
    METRICS = False
    LOG_FORMAT = "text"

    API_TITLE = "Task API"
    API_VERSION = "1.0.0"
    OPENAPI_VERSION = "3.1.0"

    JWT_ALGORITHM = "HS256"
    # Seconds of clock difference between servers.
    JWT_DECODE_LEEWAY = 5
    # Tokens are accepted in the Authorization header only, so CSRF is not possible.
    JWT_COOKIE_CSRF_PROTECT = False
    JWT_ENCODE_ISSUER = JWT_DECODE_ISSUER = "task-api"
    JWT_ENCODE_AUDIENCE = JWT_DECODE_AUDIENCE = "task-api"


class Development(Config):
    """Local development; no setting is required."""

    DATABASE_URL = "sqlite:///tasks.db"


class Testing(Config):
    """Automated tests; no setting is required."""

    TESTING = True
    DATABASE_URL = "sqlite:///testing.db"
    RATELIMIT_ENABLED = False


class Production(Config):
    """Production; secrets, database and public URL have no defaults."""

    PRODUCTION = True
    LOG_FORMAT = "json"


ENVIRONMENTS: Mapping[str, type[Config]] = {
    "development": Development,
    "testing": Testing,
    "production": Production,
}
