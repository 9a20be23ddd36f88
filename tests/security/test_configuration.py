"""Checks S1 to S3: unsafe settings, secrets in logs, and open sockets."""

import json
import os
import re
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
from pyotp import TOTP
from sqlalchemy import create_engine, text

from app.config import database_url
from benchmarks.server import Client, started
from tests.conftest import ROOT

POSTGRES = os.environ.get("TEST_DATABASE_URL")
SECRETS = {
    "SECRET_KEY": "q3Jx8vN1zR5tW7yB2dF4hK6mP9sU0aCe",
    "JWT_SECRET_KEY": "eC0aU9sP6mK4hF2dB7yW5tR1zN8vJx3q",
}
SAFE = SECRETS | {
    "FLASK_CONFIG": "production",
    "DATABASE_URL": "postgresql://tasks:word@127.0.0.1:1/tasks",
    "PUBLIC_URL": "https://api.example.com/",
}
UNSAFE = {
    "debug on": ({"FLASK_DEBUG": "1"}, "FLASK_DEBUG is on."),
    "no secret": ({"SECRET_KEY": ""}, "SECRET_KEY is not set."),
    "no token secret": ({"JWT_SECRET_KEY": ""}, "JWT_SECRET_KEY is not set."),
    "a short secret": ({"SECRET_KEY": "hunter2"}, "SECRET_KEY is shorter than 32 bytes."),
    "the example's secret": (
        {"JWT_SECRET_KEY": "change-me-please-change-me-please"},
        "JWT_SECRET_KEY is a placeholder.",
    ),
    "SQLite without saying so": (
        {"DATABASE_URL": "sqlite:///tasks.db"},
        "DATABASE_URL is SQLite; set ALLOW_SQLITE=1 to allow it in production.",
    ),
    "no address": ({"PUBLIC_URL": ""}, "PUBLIC_URL is not set."),
    "links without TLS": (
        {"PUBLIC_URL": "HTTP://api.example.com"},
        "PUBLIC_URL is not https; set ALLOW_HTTP=1 to allow it in production.",
    ),
    "every origin": ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS allows every origin; list the origins."),
}
WAYS = {
    "run.py": ["run.py"],
    "gunicorn": ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"],
    "flask": ["-m", "flask", "--app", "wsgi", "routes"],
}


def start(way, settings, instance):
    return subprocess.run(
        [sys.executable, *WAYS[way]],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "INSTANCE_PATH": str(instance), **SAFE, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("case", UNSAFE)
def test_s1_unsafe_production_settings_refuse_to_start(case, tmp_path):
    settings, message = UNSAFE[case]
    process = start("run.py", settings, tmp_path)
    assert process.returncode not in {0, None}
    assert f"- {message}" in process.stderr
    assert "hunter2" not in process.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["gunicorn", "flask"])
def test_s1_unsafe_settings_refuse_every_way_to_start(way, tmp_path):
    settings = {"SECRET_KEY": "short", "FLASK_DEBUG": "1"}
    process = start(way, settings, tmp_path)
    assert process.returncode not in {0, None}
    assert "- FLASK_DEBUG is on.\n- SECRET_KEY is shorter than 32 bytes." in process.stderr
    assert list(tmp_path.iterdir()) == []


class Caller:
    """A client that collects every secret that it sends or receives."""

    def __init__(self, port):
        self.client = Client(port)
        self.secrets = {*SECRETS.values()}

    def password(self, word):
        self.secrets.add(word)
        return word

    def call(self, method, path, body=None, token=None, **headers):
        self.client.headers = {"Content-Type": "application/json", **headers}
        if token:
            self.client.headers["Authorization"] = f"Bearer {self.password(token)}"
        status, response = self.client.call(method, path, body)
        for name in ("access_token", "refresh_token", "token", "secret", "challenge"):
            if isinstance(response, dict) and isinstance(response.get(name), str):
                self.secrets.add(response[name])
        self.secrets |= set((response or {}).get("recovery_codes") or [])
        return status, response


FORGED = "FORGED 09:00:00 ERROR a line of my own"
BREAK = f"a\r\n{FORGED}"


def use_secrets(caller):
    """Make every call that sends or returns a secret, valid and invalid."""
    first, second = caller.password("first passphrase 4711"), caller.password("second one 0815")
    wrong = caller.password("a wrong passphrase 99")
    ada = {"username": "ada", "email": "ada@example.com", "password": first}
    assert caller.call("POST", "/auth/register", ada)[0] == 201
    caller.call("POST", "/auth/register", ada)
    caller.call("POST", "/auth/register", ada | {"password": caller.password("ultra short!")[:7]})
    caller.call("POST", "/auth/login", {"username": "ada", "password": wrong})
    caller.call("POST", "/auth/login", {"username": wrong, "password": wrong})
    login = {"username": "ada", "password": first}
    status, pair = caller.call("POST", "/auth/login", login)
    assert status == 200
    access = pair["access_token"]
    for token in (access[:-5], caller.password("x" * 40), caller.password("tap_" + "y" * 40)):
        assert caller.call("GET", "/auth/me", token=token)[0] == 401
    basic = f"Basic {caller.password('YWRhOmZpcnN0')}"
    assert caller.call("GET", "/auth/me", Authorization=basic)[0] == 401
    caller.call("GET", f"/tasks?access_token={access}")
    caller.call("GET", f"/tasks?q={caller.password('looked-for-words')}", token=access)
    assert caller.call("POST", "/auth/refresh", token=pair["refresh_token"])[0] == 200
    assert caller.call("POST", "/auth/reauthenticate", {"password": first}, access)[0] == 200
    script = {"name": "Script", "scopes": ["tasks:read"]}
    status, created = caller.call("POST", "/auth/tokens", script, access)
    assert status == 201
    assert caller.call("GET", "/tasks", token=created["token"])[0] == 200
    caller.call("POST", "/auth/password/forgot", {"email": "ada@example.com"})
    reset = {"token": caller.password("z" * 43), "new_password": second}
    caller.call("POST", "/auth/password/reset", reset)
    change = {"current_password": wrong, "new_password": second}
    assert caller.call("PUT", "/auth/password", change, access)[0] == 401
    change["current_password"] = first
    assert caller.call("PUT", "/auth/password", change, access)[0] == 204
    status, enrolled = caller.call("POST", "/auth/totp", {}, access)
    assert status == 201
    code = {"code": TOTP(enrolled["secret"]).now()}
    assert caller.call("POST", "/auth/totp/confirm", code, access)[0] == 200
    status, problem = caller.call("POST", "/auth/login", {"username": "ada", "password": second})
    assert problem["code"] == "second_factor_required"
    response = {"challenge": problem["challenge"], "code": "000000"}
    assert caller.call("POST", "/auth/login/second-factor", response)[0] in {401, 422}
    return access


def break_lines(caller, access):
    """Send line breaks in everything that might be logged."""
    caller.call("POST", "/auth/login", {"username": BREAK, "password": BREAK})
    caller.call("POST", "/tasks", {"title": BREAK, BREAK: 1}, access)
    quoted = FORGED.replace(" ", "%20")
    for breaks in ("%0d%0a", "%0a", "%0d", "%E2%80%A8", "%C2%85", "%0b", "%0c", "%1e"):
        caller.call("GET", f"/nothing{breaks}{quoted}")
        caller.call("GET", f"/tasks?q={breaks}{quoted}", token=access)
        caller.call("GET", f"/tasks?{breaks}{quoted}=1", token=access)
        caller.call("GET", "/auth/me", **{"X-Request-ID": f"a{breaks}{quoted}"})
        caller.call("GET", "/auth/me", **{"User-Agent": f"a{breaks}{FORGED}"})
    caller.call("POST", "/auth/register", {"username": BREAK, "email": BREAK, "password": BREAK})


@pytest.mark.parametrize("form", ["text", "json"])
def test_s2_logs_have_no_secrets_and_no_forged_lines(form):
    settings = SECRETS | {
        "FLASK_CONFIG": "production",
        "ALLOW_HTTP": "1",
        "ALLOW_SQLITE": "1",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": form,
    }
    with started(POSTGRES, **settings) as server:
        caller = Caller(server.port)
        access = use_secrets(caller)
        break_lines(caller, access)
        # Without its table a request fails, and its traceback is logged.
        engine = create_engine(database_url(server.database_url))
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE users RENAME TO gone"))
        engine.dispose()
        word = caller.password("a password that meets a failure")
        failed, _ = caller.call("POST", "/auth/login", {"username": "ada", "password": word})
        caller.call("GET", "/auth/me", token=access)
        caller.client.connection.close()
        assert failed in {500, 503}
        server.stop()
        log = server.log.read_text()
    assert "Traceback" in log
    assert "FORGED" in log
    assert "/api/v1/auth/login" in log
    signatures = {secret.rpartition(".")[2] for secret in caller.secrets if secret.count(".") == 2}
    assert len(caller.secrets) >= 20
    assert [secret for secret in caller.secrets | signatures if secret in log] == []
    assert "Bearer ey" not in log
    assert [line for line in log.splitlines() if line.lstrip().startswith("FORGED")] == []
    if form == "json":
        app_lines = [line for line in log.splitlines() if line.startswith("{")]
        assert len(app_lines) >= 50
        assert all(json.loads(line)["level"] for line in app_lines)


def test_s3_no_version_in_headers_and_no_other_listening_socket():
    with started(POSTGRES) as server:
        for path in ("/api/v1/auth/me", "/docs", "/nothing", "/api/v1/openapi.json"):
            connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            connection.close()
            headers = f"{response.headers.get('Server')} {response.headers.get('X-Powered-By')}"
            assert not re.search(r"\d|python|flask|werkzeug", headers, re.IGNORECASE)
        processes = [server.process.pid, *server.workers()]
        inodes = {
            Path.readlink(link).name
            for process in processes
            for link in Path(f"/proc/{process}/fd").iterdir()
            if link.is_symlink()
        }
        unix = Path("/proc/net/unix").read_text().splitlines()[1:]
        listening = [
            line
            for line in unix
            if line.split()[3] == "00010000" and f"socket:[{line.split()[6]}]" in inodes
        ]
        assert listening == []
