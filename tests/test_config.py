"""What may be set, and what production refuses."""

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
from app.config import ConfigurationError, Production, kept_secret, load
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


def faults(source, environ):
    with pytest.raises(ConfigurationError) as refusal:
        load(source, environ)
    first, *lines = str(refusal.value).splitlines()
    assert first == "The configuration is not usable:"
    return [line.removeprefix("- ") for line in lines]


@pytest.fixture
def environ(tmp_path):
    return {"INSTANCE_PATH": str(tmp_path / "instance")}


class Special(Production):
    THREADS = 3


class Plain:
    TESTING = True
    THREADS = 3
    SECRET_KEY = JWT_SECRET_KEY = SECRET


@pytest.mark.parametrize(
    ("source", "named", "expected"),
    [
        (None, None, (False, False, "sqlite:///tasks.db")),
        (None, "testing", (True, False, "sqlite:///testing.db")),
        ("testing", "production", (True, False, "sqlite:///testing.db")),
        ("development", "testing", (False, False, "sqlite:///tasks.db")),
        ({}, "testing", (True, False, "sqlite:///testing.db")),
        ({"TESTING": True}, "production", (True, False, "sqlite:///testing.db")),
        ({"FLASK_CONFIG": "development"}, "testing", (False, False, "sqlite:///tasks.db")),
        (Plain, None, (True, False, "sqlite:///testing.db")),
        (config.Testing, "production", (True, False, "sqlite:///testing.db")),
    ],
)
def test_a_name_a_class_or_a_mapping_chooses_the_environment(environ, source, named, expected):
    if named:
        environ["FLASK_CONFIG"] = named
    values = load(source, environ)
    names = ("TESTING", "PRODUCTION", "SQLALCHEMY_DATABASE_URI")
    assert tuple(values[name] for name in names) == expected


@pytest.mark.parametrize(
    ("named", "said", "limited"),
    [
        ("testing", {}, False),
        ("testing", {"RATELIMIT_ENABLED": "1"}, True),
        ("development", {}, True),
        ("development", {"RATELIMIT_ENABLED": "0"}, False),
    ],
)
def test_rates_are_limited_but_under_a_test_runner_that_does_not_ask(environ, named, said, limited):
    environ |= said
    assert load(named, environ)["RATELIMIT_ENABLED"] is limited


@pytest.mark.parametrize("source", [None, "production", Production, {"FLASK_CONFIG": "production"}])
def test_production_takes_settings_that_are_whole_and_safe(source):
    values = load(source, GOOD)
    assert (values["PRODUCTION"], values["DEBUG"], values["TESTING"]) == (True, False, False)
    assert values["PUBLIC_URL"] == "https://api.example.com"
    assert values["SECRET_KEY"] == SECRET
    uri = "postgresql+psycopg://tasks:word@db.example.com/tasks"
    assert values["SQLALCHEMY_DATABASE_URI"] == uri


def test_what_the_caller_says_wins_over_the_environment_and_that_over_the_defaults(environ):
    assert load(None, environ)["THREADS"] == 16
    environ |= {"THREADS": "5", "PORT": "8000"}
    assert load(None, environ)["THREADS"] == 5
    values = load({"THREADS": 7}, environ)
    assert (values["THREADS"], values["PORT"]) == (7, 8000)
    assert load(Plain, environ)["THREADS"] == 3
    assert load(Special, GOOD | {"THREADS": "5"})["THREADS"] == 3


def test_an_empty_variable_is_one_that_is_not_set(environ):
    values = load(None, environ | dict.fromkeys(("PORT", "SECRET_KEY", "PUBLIC_URL"), ""))
    assert (values["PORT"], values["PUBLIC_URL"]) == (5000, "http://127.0.0.1:5000")
    assert len(values["SECRET_KEY"]) >= 32


def test_an_unknown_environment_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="FLASK_CONFIG is 'staging'; it must be one of"):
        load(None, {"FLASK_CONFIG": "staging"})


@pytest.mark.parametrize(("source", "named"), [(5, "int"), (["testing"], "list"), (b"", "bytes")])
def test_settings_from_anything_else_are_a_mistake_of_the_callers(source, named):
    with pytest.raises(TypeError, match=rf"a name, a class or a mapping, not {named}$"):
        create_app(source)


def test_production_names_every_fault_in_one_message():
    environ = {"FLASK_CONFIG": "production", "FLASK_DEBUG": "1", "PORT": "http"}
    assert faults(None, environ) == [
        "FLASK_DEBUG is on.",
        "PORT must be a whole number of at least 1.",
        "SECRET_KEY is not set.",
        "JWT_SECRET_KEY is not set.",
        "PUBLIC_URL is not set.",
        "DATABASE_URL is not set.",
    ]


@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY"])
@pytest.mark.parametrize(
    ("secret", "fault"),
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
def test_production_refuses_a_secret_that_is_none(name, secret, fault):
    assert faults(None, GOOD | {name: secret}) == [f"{name} {fault}"]


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
def test_production_refuses_a_secret_that_others_know(secret):
    assert faults(None, GOOD | {"SECRET_KEY": secret}) == ["SECRET_KEY is a placeholder."]


@pytest.mark.parametrize(
    "secret",
    [
        *(SECRET, "your own horse, changed battery!!", "конь, батарея, скоба", "🐴🔋📎🥇🦄🐝🌵🍄"),
        *("k" * 40, "0123456789abcdef" * 2, "12345678901234567890123456789012"),
    ],
)
def test_a_secret_is_no_placeholder_for_a_word_or_two(secret):
    assert load(None, GOOD | {"SECRET_KEY": secret})["SECRET_KEY"] == secret


def test_no_secret_that_chance_made_is_a_placeholder():
    chance = Random(4711)
    made = [chance.randbytes(size) for size in [16, 32, 32, 32, 48, 256] * 2000]
    texts = [text for raw in made for text in (raw.hex(), b64encode(raw), urlsafe_b64encode(raw))]
    told = [text if isinstance(text, str) else text.decode().rstrip("=") for text in texts]
    assert [text for text in told if config.is_placeholder(text)] == []


def test_one_fault_is_told_of_one_setting():
    environ = {
        "DATABASE_URL": "mysql://x",
        "PUBLIC_URL": "example",
        "SECRET_KEY": "x" * 31,
        "JWT_SECRET_KEY": "short, secret, " + "x" * 40,
    }
    assert faults(None, GOOD | environ) == [
        "DATABASE_URL must start with sqlite:// or postgresql://.",
        "PUBLIC_URL must be a URL such as https://api.example.com.",
        "SECRET_KEY is shorter than 32 bytes.",
        "JWT_SECRET_KEY is shorter than 32 bytes.",
    ]


def test_token_secrets_of_commas_alone_are_none():
    assert faults(None, GOOD | {"JWT_SECRET_KEY": " , ,"}) == ["JWT_SECRET_KEY is not set."]


def test_each_of_several_token_secrets_is_judged():
    assert faults(None, GOOD | {"JWT_SECRET_KEY": f"{SECRET},short"}) == [
        "JWT_SECRET_KEY is shorter than 32 bytes."
    ]
    values = load(None, GOOD | {"JWT_SECRET_KEY": f" {SECRET} ,, {SECRET[::-1]}"})
    assert values["JWT_SECRET_KEYS"] == [SECRET, SECRET[::-1]]


def test_a_comma_in_the_secret_key_is_a_character_like_any_other():
    secret = SECRET[:16] + "," + SECRET[16:]
    assert load(None, GOOD | {"SECRET_KEY": secret})["SECRET_KEY"] == secret


@pytest.mark.parametrize("debug", ["1", "true", "yes", "on", "maybe"])
@pytest.mark.parametrize("source", [None, Special, {"PRODUCTION": True, "FLASK_CONFIG": "testing"}])
def test_production_is_never_run_for_debugging(source, debug):
    assert faults(source, GOOD | {"FLASK_DEBUG": debug}) == ["FLASK_DEBUG is on."]


@pytest.mark.parametrize("debug", ["0", "false", "", "off"])
def test_production_may_say_that_it_is_not_debugging(debug):
    assert load(None, GOOD | {"FLASK_DEBUG": debug})["PRODUCTION"]


@pytest.mark.parametrize("url", ["sqlite:///tasks.db", "sqlite+pysqlite:////srv/tasks.db"])
def test_production_runs_on_sqlite_only_where_that_is_said(url):
    sqlite = GOOD | {"DATABASE_URL": url}
    [fault] = faults(None, sqlite)
    assert fault == "DATABASE_URL is SQLite; set ALLOW_SQLITE=1 if that is meant."
    assert faults(None, sqlite | {"ALLOW_SQLITE": "0"}) == [fault]
    assert load(None, sqlite | {"ALLOW_SQLITE": "1"})["SQLALCHEMY_DATABASE_URI"] == url


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PUBLIC_URL", "api.example.com"),
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
        ("CLIENT_TIMEOUT", "0"),
        ("APP_URL", "app.example.com"),
        ("MAIL_PORT", "smtp"),
        ("MAIL_USE_TLS", "perhaps"),
        ("MAIL_TIMEOUT", "0"),
        ("MAIL_DEFAULT_SENDER", "tasks"),
        ("MAIL_DEFAULT_SENDER", "Tasks <tasks>"),
        ("MAIL_DEFAULT_SENDER", "tasks@example.com\r\nBcc: eve@example.com"),
    ],
)
def test_a_bad_value_is_refused_by_name_wherever_it_comes_from(environ, name, text):
    for source, given in ((None, environ | {name: text}), ({name: text}, environ)):
        [fault] = faults(source, given)
        assert fault.startswith(f"{name} must ")


@pytest.mark.parametrize(
    ("name", "text", "derived", "value"),
    [
        ("ACCESS_TOKEN_MINUTES", "5", "JWT_ACCESS_TOKEN_EXPIRES", timedelta(minutes=5)),
        ("REFRESH_TOKEN_DAYS", "7", "JWT_REFRESH_TOKEN_EXPIRES", timedelta(days=7)),
        ("SESSION_DAYS", "14", "SESSION_LIFETIME", timedelta(days=14)),
        ("PORT", " 8080 ", "PUBLIC_URL", "http://127.0.0.1:8080"),
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
def test_what_is_set_reaches_what_it_is_for(environ, name, text, derived, value):
    assert load(None, environ | {name: text})[derived] == value


def test_the_message_tells_no_secret():
    environ = GOOD | {"SECRET_KEY": "hunter2", "DATABASE_URL": "mysql://u:hunter3@db/tasks"}
    assert "hunter" not in "".join(faults(None, environ))


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("commas", ["", ",", " , "])
def test_outside_production_a_missing_secret_is_made_and_kept(environ, tmp_path, blank, commas):
    environ |= {"SECRET_KEY": blank, "JWT_SECRET_KEY": blank + commas}
    first, second = load(None, environ), load(None, environ)
    for name in config.SECRETS:
        path = tmp_path / "instance" / name.lower()
        assert first[name] == second[name] == path.read_text()
        assert len(first[name]) >= 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first["SECRET_KEY"] != first["JWT_SECRET_KEY"]
    assert first["JWT_SECRET_KEYS"] == [first["JWT_SECRET_KEY"]]


def test_threads_that_start_together_agree_on_a_secret(tmp_path):
    start = Barrier(8)

    def make(_):
        start.wait()
        return kept_secret(tmp_path / "deep" / "down" / "secret")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(make, range(8)))) == 1
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["secret"]


def test_processes_that_start_together_agree_on_a_secret(tmp_path):
    script = "import sys, app.config as c; print(c.kept_secret(c.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path / "secret")]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    told = {process.communicate()[0].strip() for process in running}
    assert told == {kept_secret(tmp_path / "secret")}


@pytest.mark.parametrize("kind", ["mapping", "class"])
def test_the_factory_takes_what_load_takes(settings, kind):
    source = settings if kind == "mapping" else type("Chosen", (config.Testing,), dict(settings))
    app = create_app(source)
    assert app.config["TESTING"]
    assert app.config["SECRET_KEY"] == settings["SECRET_KEY"]
    assert app.config["JWT_ACCESS_TOKEN_EXPIRES"] == timedelta(minutes=15)
    assert app.instance_path == settings["INSTANCE_PATH"]
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("source", [None, "testing"])
def test_the_factory_takes_a_name_or_the_environment(monkeypatch, tmp_path, source):
    monkeypatch.setenv("FLASK_CONFIG", "testing")
    monkeypatch.setenv("INSTANCE_PATH", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    app = create_app(source)
    assert app.config["TESTING"]
    assert len(app.config["SECRET_KEY"]) >= 32


def test_the_factory_refuses_what_load_refuses(monkeypatch):
    monkeypatch.setenv("FLASK_CONFIG", "production")
    for name in ("DATABASE_URL", "SECRET_KEY", "JWT_SECRET_KEY", "PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="SECRET_KEY is not set"):
        create_app()
