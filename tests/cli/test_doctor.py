"""``flask doctor`` says what an installation lacks."""

from datetime import timedelta

import time_machine
from sqlalchemy import text

from app import clock
from app.extensions import db
from app.health import services


def test_a_sound_installation_is_called_so(app):
    result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "configuration: ok",
        "database: ok",
        "migrations: ok",
        "clock: ok",
    ]


def test_a_database_that_is_behind_the_code_is_named(app):
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        db.session.commit()
    try:
        result = app.test_cli_runner().invoke(args=["doctor"])
    finally:
        with app.app_context():
            head = {"head": services.head()}
            db.session.execute(text("UPDATE alembic_version SET version_num = :head"), head)
            db.session.commit()
    assert result.exit_code == 1
    assert "migrations: failing" in result.output
    assert "can't serve" in result.output


def test_a_clock_that_is_off_is_named(app):
    with time_machine.travel(clock.now() + timedelta(seconds=30)):
        result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 1
    assert "clock: failing" in result.output
