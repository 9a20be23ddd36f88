"""Settings: names, defaults, descriptions and parsers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from app.config import parsers

Parser = Callable[[str], Any]

ROOT = Path(__file__).resolve().parent.parent.parent
# By the type of a setting's default.
PARSERS: dict[type, Parser] = {bool: parsers.boolean, int: parsers.positive_integer}


class Setting(NamedTuple):
    """An environment variable that configures the application."""

    name: str
    default: bool | int | str | None
    description: str
    parser: Parser | None = None

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises ValueError with what it must be."""
        return (self.parser or PARSERS.get(type(self.default), str))(text)


RATE_LIMITS = (
    ("RATE_LIMIT_READS", "1200 per minute", "Read requests per user or anonymous address."),
    ("RATE_LIMIT_WRITES", "300 per minute", "Write requests per user or anonymous address."),
    ("RATE_LIMIT_LOGIN", "5 per minute", "Login requests per address."),
    ("RATE_LIMIT_LOGIN_ACCOUNT", "10 per 15 minutes", "Password attempts per account."),
    ("RATE_LIMIT_REGISTER", "5 per minute", "Registrations per address."),
    ("RATE_LIMIT_REGISTER_ACCOUNT", "10 per 15 minutes", "Registrations per email address."),
    ("RATE_LIMIT_RECOVERY", "5 per minute", "Requests per account recovery endpoint and address."),
    ("RATE_LIMIT_RECOVERY_ACCOUNT", "10 per 15 minutes", "Recovery emails per account."),
    ("RATE_LIMIT_REFRESH", "5 per minute", "Refresh requests per address."),
    ("RATE_LIMIT_REFRESH_ACCOUNT", "10 per 15 minutes", "Refresh requests per account."),
)
HEADERS = (
    "authorization,content-type,if-match,if-none-match,idempotency-key,traceparent,tracestate"
    ",x-request-id"
)
TABLE: tuple[tuple[Any, ...], ...] = (
    ("DATABASE_URL", None, "Database: `sqlite:///` or `postgresql://`.", parsers.database_url),
    ("SECRET_KEY", None, "Signs cursors and challenges, encrypts TOTP secrets. 32 bytes or more."),
    (
        "JWT_SECRET_KEY",
        None,
        "Signs tokens. 32 bytes or more. Of several, comma-separated, the first signs, all verify.",
    ),
    (
        "PUBLIC_URL",
        None,
        "Base URL of every link in responses and emails, may have a path.",
        parsers.public_url,
    ),
    ("ALLOW_HTTP", False, "Allows a `PUBLIC_URL` with http in production."),
    ("ALLOW_SQLITE", False, "Allows SQLite in production."),
    ("INSTANCE_PATH", str(ROOT / "instance"), "Directory of the SQLite file and the secrets."),
    ("HOST", "127.0.0.1", "Address that the server listens on.", parsers.host),
    ("PORT", 5000, "Port that the server listens on."),
    ("WEB_CONCURRENCY", 2, "Number of worker processes."),
    ("THREADS", 4, "Threads and database connections of each worker."),
    ("DB_POOL_TIMEOUT", 10, "Seconds to wait for a free database connection."),
    ("DB_TIMEOUT", 10, "Seconds until a PostgreSQL query times out."),
    ("ACCESS_TOKEN_MINUTES", 15, "Lifetime of access tokens in minutes."),
    ("REFRESH_TOKEN_DAYS", 30, "Lifetime of refresh tokens, and so of idle sessions, in days."),
    ("SESSION_DAYS", 90, "Maximum lifetime of a session in days."),
    ("REQUIRE_ADMIN_SECOND_FACTOR", False, "Requires a second factor for administrator rights."),
    ("MAIL_SERVER", None, "SMTP server; without one, production sends no email."),
    ("MAIL_PORT", 587, "Port of the SMTP server."),
    ("MAIL_USE_TLS", True, "Uses STARTTLS and verifies the server's certificate."),
    ("MAIL_USE_SSL", False, "Uses implicit TLS (port 465) instead of STARTTLS."),
    ("MAIL_USERNAME", None, "User name for the SMTP server."),
    ("MAIL_PASSWORD", None, "Password for the SMTP server."),
    ("MAIL_DEFAULT_SENDER", None, "`From` address of emails.", parsers.email_address),
    ("MAIL_TIMEOUT", 10, "Timeout of the SMTP server in seconds."),
    ("EMAIL_SPECIAL_USE", False, "Accepts addresses in domains such as `.local`."),
    ("APP_URL", None, "Base URL of the front end that emails link to.", parsers.base_url),
    ("MAX_CONTENT_LENGTH", 1024 * 1024, "Maximum size of a request body in bytes."),
    ("MAX_UPLOAD_LENGTH", 64 * 1024 * 1024, "Maximum size of an import file in bytes."),
    ("JOB_DAYS", 7, "Retention of exports, imports and their files."),
    ("REDIS_URL", None, "Redis for shared rate limits, and the default broker.", parsers.redis_url),
    ("CELERY_BROKER_URL", None, "Celery broker, if not `REDIS_URL`.", parsers.broker_url),
    ("RATELIMIT_ENABLED", True, "Enables rate limits."),
    *((*row, parsers.rate_limit) for row in RATE_LIMITS),
    (
        "TRUSTED_PROXIES",
        0,
        "Number of reverse proxies whose `X-Forwarded-*` headers are trusted.",
        parsers.non_negative_integer,
    ),
    ("TRUSTED_HOSTS", None, "Accepted `Host` headers; all by default.", parsers.host_names),
    (
        "CORS_ORIGINS",
        None,
        "Origins allowed by CORS, or `*` for all; not in production.",
        parsers.origins,
    ),
    ("CORS_ALLOW_HEADERS", HEADERS, "Request headers allowed by CORS.", parsers.header_names),
    ("AUDIT_DAYS", 365, "Retention of audit events in days."),
    (
        "LOG_LEVEL",
        "INFO",
        "Minimum level of log messages.",
        parsers.one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    ),
    ("METRICS", False, "Enables `/metrics` for Prometheus."),
    (
        "LOG_FORMAT",
        "text",
        "Format of log lines: `json` or `text`.",
        parsers.one_of("json", "text"),
    ),
)
SETTINGS = tuple(Setting(*row) for row in TABLE)


class Config:
    """Every environment; the defaults of the settings are attributes too."""

    DEBUG = False
    TESTING = False
    PRODUCTION = False

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


for setting in SETTINGS:
    setattr(Config, setting.name, setting.default)


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


ENVIRONMENTS = {"development": Development, "testing": Testing, "production": Production}
