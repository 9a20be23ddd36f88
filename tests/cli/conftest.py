"""Fixtures of a database without tables."""

from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from app import create_app
from app.extensions import db


@pytest.fixture
def empty_database_url(database_url, tmp_path):
    """Create a database without tables."""
    url = make_url(database_url)
    name = f"task_api_empty_{uuid4().hex}"
    if url.get_backend_name() == "sqlite":
        yield f"sqlite:///{tmp_path}/{name}.db"
        return
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture
def app_without_tables(settings, empty_database_url):
    application = create_app(settings | {"DATABASE_URL": empty_database_url})
    yield application
    with application.app_context():
        db.engine.dispose()


@pytest.fixture
def empty_database(app_without_tables, app):
    """Enter the context of an application on a database without tables."""
    with app_without_tables.app_context():
        yield
        db.session.remove()
