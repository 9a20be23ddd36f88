"""Settings: sources, validation, derived values, and the checks of production."""

import stat
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from threading import Barrier

import pytest

from app import config, create_app
from app.config import ConfigurationError, Production, load
from app.config.secret_keys import SECRET_KEYS, is_placeholder, read_or_create_secret
from app.extensions import db
from tests.conftest import ROOT

SECRET = "q3Jx8vN1zR5tW7yB2dF4hK6mP9sU0aCe"
GOOD = {
    "FLASK_CONFIG": "production",
    "DATABASE_URL": "postgresql://tasks:word@db.example.com/tasks",
    "SECRET_KEY": SECRET,
    "JWT_SECRET_KEY": SECRET[::-1],
    "PUBLIC_URL": "https://api.example.com/",
}


def find_problems(source, environ):
    with pytest.raises(ConfigurationError) as raised:
        load(source, environ)
    first, *lines = str(raised.value).splitlines()
    assert first == "Invalid configuration:"
    return [line.removeprefix("- ") for line in lines]


@pytest.fixture
def environ(tmp_path):
    return {"INSTANCE_PATH": str(tmp_path / "instance")}


class CustomProduction(Production):
    THREADS = 3


class TestingClass:
    TESTING = True
    THREADS = 3
    SECRET_KEY = JWT_SECRET_KEY = SECRET


@pytest.mark.parametrize(
    ("source", "flask_config", "expected"),
    [
        (None, None, (False, False, "sqlite:///tasks.db")),
        (None, "testing", (True, False, "sqlite:///testing.db")),
        ("testing", "production", (True, False, "sqlite:///testing.db")),
        ("development", "testing", (False, False, "sqlite:///tasks.db")),
        ({}, "testing", (True, False, "sqlite:///testing.db")),
        ({"TESTING": True}, "production", (True, False, "sqlite:///testing.db")),
        ({"FLASK_CONFIG": "development"}, "testing", (False, False, "sqlite:///tasks.db")),
        (TestingClass, None, (True, False, "sqlite:///testing.db")),
        (config.Testing, "production", (True, False, "sqlite:///testing.db")),
    ],
)
def test_name_class_or_mapping_selects_environment(environ, source, flask_config, expected):
    if flask_config:
        environ["FLASK_CONFIG"] = flask_config
    values = load(source, environ)
    names = ("TESTING", "PRODUCTION", "SQLALCHEMY_DATABASE_URI")
    assert tuple(values[name] for name in names) == expected


@pytest.mark.parametrize(
    ("name", "variables", "enabled"),
    [
        ("testing", {}, False),
        ("testing", {"RATELIMIT_ENABLED": "1"}, True),
        ("development", {}, True),
        ("development", {"RATELIMIT_ENABLED": "0"}, False),
    ],
)
def test_rate_limits_are_disabled_by_default_in_testing_only(environ, name, variables, enabled):
    assert load(name, environ | variables)["RATELIMIT_ENABLED"] is enabled


@pytest.mark.parametrize("source", [None, "production", Production, {"FLASK_CONFIG": "production"}])
def test_production_accepts_complete_and_safe_settings(source):
    values = load(source, GOOD)
    assert (values["PRODUCTION"], values["DEBUG"], values["TESTING"]) == (True, False, False)
    assert values["PUBLIC_URL"] == "https://api.example.com"
    assert values["SECRET_KEY"] == SECRET
    uri = "postgresql+psycopg://tasks:word@db.example.com/tasks"
    assert values["SQLALCHEMY_DATABASE_URI"] == uri


def test_overrides_win_over_environment_and_environment_over_defaults(environ):
    assert load(None, environ)["THREADS"] == 4
    environ |= {"THREADS": "5", "PORT": "8000"}
    assert load(None, environ)["THREADS"] == 5
    values = load({"THREADS": 7}, environ)
    assert (values["THREADS"], values["PORT"]) == (7, 8000)
    assert load(TestingClass, environ)["THREADS"] == 3
    assert load(CustomProduction, GOOD | {"THREADS": "5"})["THREADS"] == 3


def test_empty_variable_counts_as_not_set(environ):
    values = load(None, environ | dict.fromkeys(("PORT", "SECRET_KEY", "PUBLIC_URL"), ""))
    assert (values["PORT"], values["PUBLIC_URL"]) == (5000, "http://127.0.0.1:5000")
    assert len(values["SECRET_KEY"]) >= 32


def test_unknown_environment_is_rejected():
    with pytest.raises(ConfigurationError, match="FLASK_CONFIG is 'staging'; it must be one of"):
        load(None, {"FLASK_CONFIG": "staging"})


@pytest.mark.parametrize(
    ("source", "type_name"), [(5, "int"), (["testing"], "list"), (b"", "bytes")]
)
def test_source_of_another_type_raises_type_error(source, type_name):
    with pytest.raises(TypeError, match=rf"a name, a class or a mapping, not {type_name}$"):
        create_app(source)


def test_allowed_http_is_accepted_in_production():
    insecure = GOOD | {"PUBLIC_URL": "http://api.internal"}
    problem = "PUBLIC_URL is not https; set ALLOW_HTTP=1 to allow it in production."
    assert find_problems(None, insecure) == [problem]
    assert load(None, insecure | {"ALLOW_HTTP": "1"})["PUBLIC_URL"] == "http://api.internal"


def test_development_accepts_http_and_every_origin(environ):
    values = load(None, environ | {"PUBLIC_URL": "http://h", "CORS_ORIGINS": "*"})
    assert values["PUBLIC_URL"] == "http://h"


def test_error_lists_every_problem():
    environ = {"FLASK_CONFIG": "production", "FLASK_DEBUG": "1", "PORT": "http"}
    assert find_problems(None, environ) == [
        "FLASK_DEBUG is on.",
        "PORT must be a positive integer.",
        "SECRET_KEY is not set.",
        "JWT_SECRET_KEY is not set.",
        "PUBLIC_URL is not set.",
        "DATABASE_URL is not set.",
    ]


@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY"])
@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "is not set."),
        (" " * 40, "is not set."),
        ("x" * 31, "is shorter than 32 bytes."),
        ("é" * 15, "is shorter than 32 bytes."),
        ("change-me-please-change-me-please", "is a placeholder."),
        ("your-very-long-random-secret-key-here", "is a placeholder."),
        ("REPLACE_THIS_WITH_A_RANDOM_STRING_OF_32_BYTES", "is a placeholder."),
        ("django-insecure-development-secret-key", "is a placeholder."),
    ],
)
def test_production_rejects_missing_short_and_placeholder_secrets(name, secret, problem):
    assert find_problems(None, GOOD | {name: secret}) == [f"{name} {problem}"]


PLACEHOLDERS = [
    "secretsecretsecretsecretsecretsecret",
    "dev-secret-key-not-for-production-use",
    "insecure-default-do-not-use-in-production",
    "supersecretsupersecretsupersecret123",
    "my-very-secret-jwt-key-for-testing-only",
    "you-will-never-guess-you-will-never-guess",
    "hard to guess string hard to guess string",
    "thisisasecretkeythisisasecretkey",
    "passwordpasswordpasswordpassword",
    "<generate-a-secret-key-with-openssl-rand>",
    "ChangeMeChangeMeChangeMeChangeMeChangeMe",
]


@pytest.mark.parametrize("secret", PLACEHOLDERS)
def test_production_rejects_placeholder(secret):
    assert find_problems(None, GOOD | {"SECRET_KEY": secret}) == ["SECRET_KEY is a placeholder."]


@pytest.mark.parametrize(
    "secret",
    [
        *(SECRET, "your own horse, changed battery!!", "конь, батарея, скоба", "🐴🔋📎🥇🦄🐝🌵🍄"),
        *("k" * 40, "0123456789abcdef" * 2, "12345678901234567890123456789012"),
    ],
)
def test_secret_with_other_words_is_not_a_placeholder(secret):
    assert load(None, GOOD | {"SECRET_KEY": secret})["SECRET_KEY"] == secret


def test_random_secret_is_not_a_placeholder():
    random = Random(4711)
    for size in [16, 32, 32, 32, 48, 256] * 2000:
        raw = random.randbytes(size)
        for text in (raw.hex(), b64encode(raw).decode(), urlsafe_b64encode(raw).decode()):
            assert not is_placeholder(text.rstrip("="))


def test_each_setting_has_one_problem():
    environ = {
        "DATABASE_URL": "mysql://x",
        "PUBLIC_URL": "example",
        "SECRET_KEY": "x" * 31,
        "JWT_SECRET_KEY": "short, secret, " + "x" * 40,
    }
    assert find_problems(None, GOOD | environ) == [
        "DATABASE_URL must start with sqlite:// or postgresql://.",
        "PUBLIC_URL must be a URL such as https://api.example.com.",
        "SECRET_KEY is shorter than 32 bytes.",
        "JWT_SECRET_KEY is shorter than 32 bytes.",
    ]


def test_jwt_secret_of_only_commas_is_not_set():
    assert find_problems(None, GOOD | {"JWT_SECRET_KEY": " , ,"}) == ["JWT_SECRET_KEY is not set."]


def test_each_jwt_secret_is_checked():
    assert find_problems(None, GOOD | {"JWT_SECRET_KEY": f"{SECRET},short"}) == [
        "JWT_SECRET_KEY is shorter than 32 bytes."
    ]
    values = load(None, GOOD | {"JWT_SECRET_KEY": f" {SECRET} ,, {SECRET[::-1]}"})
    assert values["JWT_SECRET_KEYS"] == [SECRET, SECRET[::-1]]


def test_secret_key_may_contain_a_comma():
    secret = SECRET[:16] + "," + SECRET[16:]
    assert load(None, GOOD | {"SECRET_KEY": secret})["SECRET_KEY"] == secret


@pytest.mark.parametrize("debug", ["1", "true", "yes", "on", "maybe"])
@pytest.mark.parametrize(
    "source", [None, CustomProduction, {"PRODUCTION": True, "FLASK_CONFIG": "testing"}]
)
def test_production_rejects_debug_mode(source, debug):
    assert find_problems(source, GOOD | {"FLASK_DEBUG": debug}) == ["FLASK_DEBUG is on."]


@pytest.mark.parametrize("debug", ["0", "false", "", "off"])
def test_production_accepts_debug_mode_off(debug):
    assert load(None, GOOD | {"FLASK_DEBUG": debug})["PRODUCTION"]


@pytest.mark.parametrize("url", ["sqlite:///tasks.db", "sqlite+pysqlite:////srv/tasks.db"])
def test_production_needs_allow_sqlite_for_sqlite(url):
    sqlite = GOOD | {"DATABASE_URL": url}
    problem = "DATABASE_URL is SQLite; set ALLOW_SQLITE=1 to allow it in production."
    assert find_problems(None, sqlite) == [problem]
    assert find_problems(None, sqlite | {"ALLOW_SQLITE": "0"}) == [problem]
    assert load(None, sqlite | {"ALLOW_SQLITE": "1"})["SQLALCHEMY_DATABASE_URI"] == url


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PUBLIC_URL", "api.example.com"),
        ("PUBLIC_URL", "https://api.example.com/b%20c"),
        ("PUBLIC_URL", "https://api.example.com/bücher"),
        ("PUBLIC_URL", "https://api.example.com/a//b"),
        ("PUBLIC_URL", "https://api.example.com/a/../b"),
        ("PUBLIC_URL", "ftp://api.example.com"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://api.example.com/?x=1"),
        ("PUBLIC_URL", "https://api.example.com/#x"),
        ("DATABASE_URL", "tasks.db"),
        ("DATABASE_URL", "mysql://db/tasks"),
        ("PORT", "0"),
        ("PORT", "-1"),
        ("THREADS", "1_0"),
        ("THREADS", "٣"),
        ("WEB_CONCURRENCY", "two"),
        ("MAX_CONTENT_LENGTH", "1e6"),
        ("ACCESS_TOKEN_MINUTES", "15.5"),
        ("ALLOW_SQLITE", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "memcached://127.0.0.1"),
        ("REDIS_URL", "redis://"),
        ("CELERY_BROKER_URL", "127.0.0.1:5672"),
        ("CELERY_BROKER_URL", "sqs://key@"),
        ("CELERY_BROKER_URL", "amqp://"),
        ("RATE_LIMIT_LOGIN", "often"),
        ("RATE_LIMIT_LOGIN", "0 per minute"),
        ("RATE_LIMIT_LOGIN", "5"),
        ("RATE_LIMIT_LOGIN", ";"),
        ("RATE_LIMIT_READS", "5 per minute; never"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "all"),
        ("TRUSTED_HOSTS", "https://api.example.com"),
        ("TRUSTED_HOSTS", "api.example.com, *"),
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "https://app.example.com, *"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "capacitor://"),
        ("CORS_ALLOW_HEADERS", "content type"),
        ("CORS_ALLOW_HEADERS", "*"),
        ("APP_URL", "app.example.com"),
        ("MAIL_PORT", "smtp"),
        ("MAIL_USE_TLS", "perhaps"),
        ("MAIL_TIMEOUT", "0"),
        ("HOST", "localhost:5000"),
        ("HOST", "http://localhost"),
        ("HOST", "300.0.0.1"),
        ("HOST", ":::"),
        ("HOST", "[::"),
        ("HOST", "two names"),
        ("MAIL_DEFAULT_SENDER", "tasks"),
        ("MAIL_DEFAULT_SENDER", "Tasks <tasks>"),
        ("MAIL_DEFAULT_SENDER", "tasks@example.com\r\nBcc: eve@example.com"),
    ],
)
def test_invalid_value_is_rejected_from_every_source(environ, name, text):
    for source, variables in ((None, environ | {name: text}), ({name: text}, environ)):
        [problem] = find_problems(source, variables)
        assert problem.startswith(f"{name} must ")


@pytest.mark.parametrize(
    ("name", "text", "derived", "value"),
    [
        ("ACCESS_TOKEN_MINUTES", "5", "JWT_ACCESS_TOKEN_EXPIRES", timedelta(minutes=5)),
        ("REFRESH_TOKEN_DAYS", "7", "JWT_REFRESH_TOKEN_EXPIRES", timedelta(days=7)),
        ("SESSION_DAYS", "14", "SESSION_LIFETIME", timedelta(days=14)),
        ("PORT", " 8080 ", "PUBLIC_URL", "http://127.0.0.1:8080"),
        ("HOST", "::", "PUBLIC_URL", "http://[::]:5000"),
        ("HOST", "[::1]", "HOST", "::1"),
        ("HOST", "0:0:0:0:0:0:0:1", "PUBLIC_URL", "http://[::1]:5000"),
        ("HOST", "::1", "MAIL_DEFAULT_SENDER", "no-reply@localhost"),
        ("HOST", " api.internal ", "PUBLIC_URL", "http://api.internal:5000"),
        ("PUBLIC_URL", "https://a.example.com/base/", "PUBLIC_URL", "https://a.example.com/base"),
        ("LOG_LEVEL", "debug", "LOG_LEVEL", "DEBUG"),
        ("RATE_LIMIT_LOGIN", " 2/second;9/hour", "RATE_LIMIT_LOGIN", "2/second;9/hour"),
        ("TRUSTED_PROXIES", "2", "TRUSTED_PROXIES", 2),
        ("TRUSTED_HOSTS", "API.example.com,", "TRUSTED_HOSTS", ["api.example.com"]),
        ("CORS_ORIGINS", "HTTPS://a.example.com", "CORS_ORIGINS", ["https://a.example.com"]),
        ("APP_URL", "https://app.example.com/", "APP_URL", "https://app.example.com"),
        ("MAIL_USE_SSL", "1", "MAIL_USE_TLS", False),
        ("MAIL_SERVER", "smtp.example.com", "MAIL_BACKEND", "app.mail.smtp.EmailBackend"),
        ("MAIL_SERVER", "", "MAIL_BACKEND", "console"),
        ("MAIL_DEFAULT_SENDER", "T <t@example.com>", "MAIL_DEFAULT_SENDER", "T <t@example.com>"),
        ("DATABASE_URL", "postgres://h/d", "SQLALCHEMY_DATABASE_URI", "postgresql+psycopg://h/d"),
    ],
)
def test_settings_are_parsed_and_derived(environ, name, text, derived, value):
    assert load(None, environ | {name: text})[derived] == value


def test_error_contains_no_secret():
    environ = GOOD | {"SECRET_KEY": "hunter2", "DATABASE_URL": "mysql://u:hunter3@db/tasks"}
    assert "hunter" not in "".join(find_problems(None, environ))


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("commas", ["", ",", " , "])
def test_missing_secret_is_generated_and_stored_outside_production(
    environ, tmp_path, blank, commas
):
    environ |= {"SECRET_KEY": blank, "JWT_SECRET_KEY": blank + commas}
    first, second = load(None, environ), load(None, environ)
    for name in SECRET_KEYS:
        path = tmp_path / "instance" / name.lower()
        assert first[name] == second[name] == path.read_text()
        assert len(first[name]) >= 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first["SECRET_KEY"] != first["JWT_SECRET_KEY"]
    assert first["JWT_SECRET_KEYS"] == [first["JWT_SECRET_KEY"]]


def test_concurrent_threads_generate_one_secret(tmp_path):
    start = Barrier(8)

    def read(_):
        start.wait()
        return read_or_create_secret(tmp_path / "new" / "instance" / "secret")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(8)))) == 1
    assert [path.name for path in (tmp_path / "new" / "instance").iterdir()] == ["secret"]


def test_concurrent_processes_generate_one_secret(tmp_path):
    script = (
        "import pathlib, sys; from app.config.secret_keys import read_or_create_secret as read;"
    )
    script += "print(read(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path / "secret")]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    secrets = {process.communicate()[0].strip() for process in processes}
    assert secrets == {read_or_create_secret(tmp_path / "secret")}


@pytest.mark.parametrize("source_type", ["mapping", "class"])
def test_create_app_accepts_mapping_or_class(settings, source_type):
    source = settings
    if source_type == "class":
        source = type("CustomTesting", (config.Testing,), dict(settings))
    app = create_app(source)
    assert app.config["TESTING"]
    assert app.config["SECRET_KEY"] == settings["SECRET_KEY"]
    assert app.config["JWT_ACCESS_TOKEN_EXPIRES"] == timedelta(minutes=15)
    assert app.instance_path == settings["INSTANCE_PATH"]
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("source", [None, "testing"])
def test_create_app_accepts_name_or_environment(monkeypatch, tmp_path, source):
    monkeypatch.setenv("FLASK_CONFIG", "testing")
    monkeypatch.setenv("INSTANCE_PATH", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    app = create_app(source)
    assert app.config["TESTING"]
    assert len(app.config["SECRET_KEY"]) >= 32


def test_create_app_rejects_invalid_settings(monkeypatch):
    monkeypatch.setenv("FLASK_CONFIG", "production")
    for name in ("DATABASE_URL", "SECRET_KEY", "JWT_SECRET_KEY", "PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="SECRET_KEY is not set"):
        create_app()
