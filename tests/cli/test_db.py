"""``flask db``, the migrations with rows, and ``python run.py``, which upgrades the database."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from alembic.script import ScriptDirectory
from flask_migrate import downgrade, upgrade
from sqlalchemy import func, insert, select, table, text

from app import create_app
from app.api.models import IdempotencyRecord
from app.audit.models import AuditEvent
from app.auth.models import EmailToken, User
from app.extensions import db
from app.jobs.models import Job
from app.outbox.models import OutboxMessage
from app.tasks.models import Task
from tests.conftest import ROOT
from tests.factories import TaskRow, UserRow

MIGRATIONS = str(ROOT / "migrations")
UNREACHABLE = {
    "postgresql://tasks@127.0.0.1:1/tasks": "connection to server at ",
    "sqlite:////proc/no/such/folder/tasks.db": "unable to open database file",
}


def run(app, *args):
    return app.test_cli_runner().invoke(args=["db", *args, "--directory", MIGRATIONS])


@pytest.fixture(params=UNREACHABLE)
def unreachable(request, settings):
    """Return an application with an unreachable database, and part of the error message."""
    app = create_app(settings | {"DATABASE_URL": request.param})
    yield app, UNREACHABLE[request.param]
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    "command", ["upgrade", "downgrade", "current", "check", "migrate", "stamp"]
)
def test_unreachable_database_is_one_line_of_error(unreachable, command):
    app, message = unreachable
    result = run(app, command)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: The database reported: ")
    assert message in line


def test_failed_migration_is_one_line_of_error_and_changes_nothing(app, stored):
    [(head,)] = stored(text("SELECT version_num FROM alembic_version"))
    with app.app_context():
        db.session.execute(text("DELETE FROM alembic_version"))
        db.session.commit()
    try:
        result = run(app, "upgrade")
        versions = stored(text("SELECT version_num FROM alembic_version"))
    finally:
        with app.app_context():
            db.session.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})
            db.session.commit()
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: The database reported: ")
    assert "already exists" in result.stderr
    assert "Traceback" not in result.stderr
    assert versions == []


@pytest.mark.parametrize("url", UNREACHABLE)
def test_server_does_not_start_on_an_unreachable_database(url, tmp_path):
    environ = {
        "PATH": os.environ["PATH"],
        "FLASK_CONFIG": "development",
        "DATABASE_URL": url,
        "INSTANCE_PATH": str(tmp_path),
    }
    process = subprocess.run(
        [sys.executable, "run.py"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stdout) == (1, "")
    [line] = process.stderr.splitlines()
    assert line.startswith("The database reported: ")
    assert UNREACHABLE[url] in line


def insert_rows():
    """Insert rows into every table that the migrations must preserve."""
    now = datetime(2030, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)
    user_id = db.session.scalar(insert(User).values(UserRow()).returning(User.id))
    db.session.execute(insert(Task), TaskRow.build_batch(3, created_by=user_id))
    db.session.execute(
        insert(IdempotencyRecord),
        [
            {
                "user_id": user_id,
                "key": f"key-{number}",
                "fingerprint": b"\x00f",
                "status": 201,
                "headers": {"Location": "/x"},
                "body": b'{"id": 1}',
                "created_at": now,
            }
            for number in range(3)
        ],
    )
    for number in range(3):
        token = {
            "user_id": user_id,
            "purpose": "verify_email",
            "email": "ada@example.com",
            "token_hash": bytes([number]) * 32,
            "created_at": now,
            "expires_at": now + timedelta(hours=1),
        }
        db.session.execute(insert(EmailToken).values(token))
    messages = [
        {
            "type": "notice",
            "payload": {"number": number},
            "origin": {"request_id": "r"},
            "attempts": number,
            "created_at": now,
            "due_at": now,
            "locked_until": now if number else None,
        }
        for number in range(3)
    ]
    db.session.execute(insert(OutboxMessage), messages)
    event = {"event": "registered", "user_id": user_id, "details": {"a": 1}, "created_at": now}
    db.session.execute(insert(AuditEvent).values(event))
    job = {
        "user_id": user_id,
        "kind": "export",
        "format": "csv",
        "state": "queued",
        "done": 0,
        "refused": 0,
        "created_at": now,
    }
    db.session.execute(insert(Job).values(job))
    db.session.commit()


PRESERVED = (User, Task, IdempotencyRecord, EmailToken, OutboxMessage, AuditEvent, Job)


def all_rows():
    rows = {
        model.__name__: sorted(map(str, db.session.execute(select(*model.__table__.c))))
        for model in PRESERVED
    }
    db.session.remove()
    return rows


def test_migration_of_names_keeps_all_rows_down_and_up(empty_database):
    upgrade(directory=MIGRATIONS)
    insert_rows()
    rows = all_rows()
    assert all(rows.values())
    downgrade(directory=MIGRATIONS, revision="0011")
    for old_name in ("kept_answers", "mailed_tokens"):
        assert db.session.scalar(select(func.count()).select_from(table(old_name))) == 3
    locked = text("SELECT count(*) FROM outbox WHERE held_until IS NOT NULL AND kind = 'notice'")
    assert db.session.scalar(locked) == 2
    db.session.remove()
    upgrade(directory=MIGRATIONS)
    assert all_rows() == rows


def test_email_keys_are_replaced_up_and_down(empty_database):
    upgrade(directory=MIGRATIONS)
    emails = {
        "Ada@Example.com": ("ada@example.com", "ada@example.com"),
        "bob@fußball.example": ("bob@xn--fuball-cta.example", "bob@fussball.example"),
        "Eve@bücher.example": ("eve@xn--bcher-kva.example", "eve@bücher.example"),
    }
    keys = {email: key for email, (key, _) in emails.items()}
    old_keys = {email: key for email, (_, key) in emails.items()}
    rows = [UserRow(username=email[:3], email=email) for email in emails]
    db.session.execute(insert(User), rows)
    db.session.commit()
    assert read_email_keys() == keys
    downgrade(directory=MIGRATIONS, revision="0012")
    assert read_email_keys() == old_keys
    upgrade(directory=MIGRATIONS)
    assert read_email_keys() == keys


def test_downgrade_keeps_an_email_key_that_would_be_taken(empty_database):
    upgrade(directory=MIGRATIONS)
    emails = ["bob@fussball.example", "bob@fußball.example"]
    rows = [UserRow(username=f"bob{number}", email=email) for number, email in enumerate(emails)]
    db.session.execute(insert(User), rows)
    db.session.commit()
    keys = read_email_keys()
    downgrade(directory=MIGRATIONS, revision="0012")
    assert read_email_keys() == keys


def read_email_keys():
    keys = dict(db.session.execute(select(User.email, User.email_key)).all())
    db.session.remove()
    return keys


def test_every_migration_goes_down_and_up_with_rows(empty_database):
    upgrade(directory=MIGRATIONS)
    insert_rows()
    tasks = all_rows()["Task"]
    revisions = [script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()]
    for revision in revisions[1:]:
        downgrade(directory=MIGRATIONS, revision=revision)
        assert db.session.scalar(select(func.count(User.id))) == 1
        assert db.session.scalar(text("SELECT count(*) FROM tasks")) == 3
        db.session.remove()
    upgrade(directory=MIGRATIONS)
    assert all_rows()["Task"] == tasks


def test_ids_of_deleted_email_tokens_are_not_used_again_after_a_migration(empty_database):
    upgrade(directory=MIGRATIONS)
    insert_rows()
    last = db.session.scalar(select(func.max(EmailToken.id)))
    db.session.execute(text("DELETE FROM email_tokens"))
    db.session.commit()
    db.session.remove()
    downgrade(directory=MIGRATIONS, revision="0011")
    upgrade(directory=MIGRATIONS)
    user_id = db.session.scalar(select(User.id))
    now = datetime(2030, 1, 31, 9, tzinfo=UTC)
    token = {
        "user_id": user_id,
        "purpose": "verify_email",
        "email": "ada@example.com",
        "token_hash": b"new",
        "created_at": now,
        "expires_at": now,
    }
    new = db.session.scalar(insert(EmailToken).values(token).returning(EmailToken.id))
    db.session.rollback()
    assert new == last + 1
