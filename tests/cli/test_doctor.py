"""``flask doctor``."""

from datetime import timedelta

import time_machine
from sqlalchemy import text

from app import clock
from app.extensions import db
from app.health import services


def test_everything_is_ok(app):
    result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "configuration: ok",
        "database: ok",
        "migrations: ok",
        "outbox: ok",
        "clock: ok",
    ]


def test_outdated_database_fails(app):
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        db.session.commit()
    try:
        result = app.test_cli_runner().invoke(args=["doctor"])
    finally:
        with app.app_context():
            head = {"head": services.head_revision()}
            db.session.execute(text("UPDATE alembic_version SET version_num = :head"), head)
            db.session.commit()
    assert result.exit_code == 1
    assert "migrations: failing" in result.output
    assert "not ready to serve" in result.output


def test_wrong_clock_fails(app):
    with time_machine.travel(clock.now() + timedelta(seconds=30)):
        result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 1
    assert "clock: failing" in result.output
