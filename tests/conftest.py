"""Fixtures of all tests: a migrated database, an application, clients and users.

TEST_DATABASE_URL is the URL of a PostgreSQL server. By default, each worker uses a SQLite file.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from app import create_app
from app.extensions import db
from tests import waiting
from tests.accounts import Account, Accounts
from tests.contract import ContractClient
from tests.mailbox import Mailbox
from tests.plans import forget_analysis
from tests.recorders import record_statements

ROOT = Path(__file__).resolve().parent.parent
SECRET = "what this suite of tests signs with and nothing else"

# Checks each response against the OpenAPI document.
Flask.test_client_class = ContractClient


@pytest.fixture(scope="session")
def database_url(tmp_path_factory, worker_id) -> Iterator[str]:
    """The URL of a new database for this worker."""
    server = os.environ.get("TEST_DATABASE_URL")
    if not server:
        yield f"sqlite:///{tmp_path_factory.mktemp('database')}/test.db"
        return
    url = make_url(server).set(drivername="postgresql+psycopg")
    name = f"task_api_test_{os.getpid()}_{worker_id}"
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture(scope="session")
def settings(database_url, tmp_path_factory) -> dict[str, Any]:
    """The settings of the application."""
    return {
        "TESTING": True,
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET,
        "JWT_SECRET_KEY": SECRET,
        "INSTANCE_PATH": str(tmp_path_factory.mktemp("instance")),
        "RATELIMIT_ENABLED": False,
        # Tests insert and analyze many rows, on busy machines.
        "DB_TIMEOUT": 60,
    }


@pytest.fixture(scope="session")
def migrated_app(settings) -> Iterator[Flask]:
    app = create_app(settings)
    with app.app_context():
        upgrade(directory=str(ROOT / "migrations"))
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def app(migrated_app) -> Iterator[Flask]:
    """The application, with an empty database."""
    yield migrated_app
    with migrated_app.app_context():
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()
        forget_analysis()


@pytest.fixture
def client(app) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def accounts(app) -> Accounts:
    """Create users and log them in."""
    return Accounts(app)


@pytest.fixture
def alice(accounts) -> Account:
    return accounts.make("alice")


@pytest.fixture
def bob(accounts) -> Account:
    return accounts.make("bob")


@pytest.fixture
def admin(accounts) -> Account:
    return accounts.make("root", admin=True)


@pytest.fixture
def mails(app) -> Mailbox:
    """The emails that the application sent."""
    return Mailbox(app)


@pytest.fixture
def drain(app) -> Callable[[], int]:
    """Process due outbox messages; return their number."""

    def run() -> int:
        with app.app_context():
            return waiting.drain()

    return run


@pytest.fixture
def no_mail(app, monkeypatch) -> None:
    """Disable email."""
    monkeypatch.setitem(app.config, "MAIL_BACKEND", "dummy")


@pytest.fixture
def run_parallel(app) -> Callable[..., list[TestResponse]]:
    """Send requests in parallel threads that start at the same time."""

    def run(account: Account | None, requests: Sequence[tuple[Any, ...]]) -> list[TestResponse]:
        start = Barrier(len(requests))

        def send(request: tuple[Any, ...]) -> TestResponse:
            method, path, body, *extra_headers = request
            token = {"Authorization": f"Bearer {account.access_token}"} if account else {}
            headers = token | (extra_headers[0] if extra_headers else {})
            client = app.test_client()
            start.wait()
            return client.open(f"/api/v1{path}", method=method, headers=headers, json=body)

        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(send, requests))

    return run


@pytest.fixture
def stored(app) -> Callable[..., list[Any]]:
    """Return committed rows: ``stored(select(Task.title))``."""

    def read(statement: Any) -> list[Any]:
        with app.app_context():
            return [tuple(row) for row in db.session.execute(statement)]

    return read


@pytest.fixture
def statements(app) -> Callable[[], Any]:
    """Record SQL statements: ``with statements() as seen: ...; len(seen) == 2``."""
    return partial(record_statements, app)
