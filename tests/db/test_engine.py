"""Engines, transactions, column types, constraints and migrations."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta, timezone
from threading import Barrier
from uuid import uuid4

import pytest
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click import ClickException
from flask_migrate import check, downgrade, upgrade
from psycopg.pq import TransactionStatus
from sqlalchemy import create_engine, func, insert, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from app import create_app
from app.auth.models import User
from app.db import postgresql
from app.db.engine import violated_constraint
from app.db.sqlite import MAX_MMAP_BYTES
from app.extensions import db
from app.outbox.models import OutboxMessage
from app.tasks import reminders
from app.tasks.models import Task
from app.tasks.search import owner_words
from app.tasks.search_index import TaskMatches
from tests.conftest import ROOT
from tests.factories import TaskRow, UserRow

MIGRATIONS = str(ROOT / "migrations")
MOMENT = datetime(2030, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def context(app):
    with app.app_context():
        yield


def task(owner_id, **changes):
    return TaskRow(now=MOMENT, created_by=owner_id, **changes)


def in_transaction():
    raw = db.session.connection().connection.dbapi_connection
    if db.engine.dialect.name == "sqlite":
        return raw.in_transaction
    return raw.pgconn.transaction_status != TransactionStatus.IDLE


def add_user(username="ada", **changes):
    row = UserRow(username=username, **changes)
    return db.session.scalar(insert(User).values(row).returning(User.id))


def test_only_writes_begin_a_transaction(context):
    assert db.session.scalars(select(User)).all() == []
    assert not in_transaction()
    add_user()
    assert in_transaction()
    db.session.commit()
    assert not in_transaction()
    db.session.execute(select(User).with_for_update().execution_options(locks_rows=True))
    assert in_transaction()
    db.session.rollback()
    assert not in_transaction()


@pytest.mark.parametrize("method", ["rollback", "close", "remove"])
def test_uncommitted_changes_are_lost(context, stored, method):
    add_user()
    db.session.execute(update(User).values(time_zone="Asia/Tokyo"))
    getattr(db.session, method)()
    assert not in_transaction()
    assert stored(select(User.id)) == []


def test_transaction_is_atomic(context, stored):
    add_user()
    with pytest.raises(IntegrityError):
        add_user()
    db.session.rollback()
    assert stored(select(User.id)) == []


def test_sqlite_pragmas(settings, tmp_path):
    app = create_app(settings | {"DATABASE_URL": f"sqlite:///{tmp_path}/tasks.db"})
    with app.app_context():
        pragmas = ("foreign_keys", "journal_mode", "busy_timeout", "mmap_size")
        values = [db.session.scalar(text(f"PRAGMA {name}")) for name in pragmas]
        db.session.remove()
        db.engine.dispose()
    assert values == [1, "wal", 30_000, MAX_MMAP_BYTES]


def test_concurrent_writers_wait_for_each_other(app, alice, stored):
    start = Barrier(8)

    def write(number):
        start.wait()
        with app.app_context():
            for _ in range(5):
                count = db.session.scalar(
                    select(User.email_key).with_for_update().execution_options(locks_rows=True)
                )
                db.session.execute(update(User).values(email_key=count + "+"))
                db.session.commit()
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(write, range(8))) == list(range(8))
    assert stored(select(User.email_key)) == [("alice@example.com" + "+" * 40,)]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"email_key": "other"}, "uq_users_username_key"),
        ({"username_key": "other"}, "uq_users_email_key"),
        ({"username_key": "other", "email_key": "other", "role": "king"}, "ck_users_role"),
    ],
)
def test_violated_constraint_of_a_user_is_named(context, changes, name):
    add_user()
    with pytest.raises(IntegrityError) as raised:
        add_user(**changes)
    assert violated_constraint(raised.value) == name


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"title": ""}, "ck_tasks_title"),
        ({"title": "x" * 150, "description": "x" * 20_001}, "ck_tasks_description"),
        ({"status": "lost"}, "ck_tasks_status"),
        ({"priority": 5}, "ck_tasks_priority"),
        ({"version": 0}, "ck_tasks_version"),
        ({"completed_at": MOMENT}, "ck_tasks_completed_at"),
        ({"due_key": MOMENT}, "ck_tasks_due_key"),
        ({"due_date": MOMENT.date(), "due_at": MOMENT, "due_key": MOMENT}, "ck_tasks_one_due"),
    ],
)
def test_violated_constraint_of_a_task_is_named(context, changes, name):
    row = task(add_user())
    with pytest.raises(IntegrityError) as raised:
        db.session.execute(insert(Task).values(row | changes))
    assert violated_constraint(raised.value) == name


def test_foreign_keys_are_enforced(context, stored):
    with pytest.raises(IntegrityError) as raised:
        db.session.execute(insert(Task).values(task(7)))
    # SQLite does not name the foreign key.
    assert violated_constraint(raised.value) in {None, "fk_tasks_created_by"}
    db.session.rollback()
    assert stored(select(Task.id)) == []


@pytest.mark.parametrize(
    "instant",
    [
        MOMENT,
        MOMENT.astimezone(timezone(timedelta(hours=5, minutes=45))),
        datetime(2030, 1, 31, 0, 30, tzinfo=timezone(timedelta(hours=-14))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        None,
    ],
)
def test_datetime_round_trips_in_utc(context, stored, instant):
    row = task(add_user(), due_at=instant)
    db.session.execute(insert(Task).values(row))
    db.session.commit()
    [(due_at, key)] = stored(select(Task.due_at, Task.due_key))
    assert due_at == key == instant
    assert due_at is None or due_at.tzinfo is UTC


def test_datetimes_of_different_zones_are_compared(context):
    row = task(add_user(), due_at=MOMENT)
    db.session.execute(insert(Task).values(row))
    there = MOMENT.astimezone(timezone(timedelta(hours=-9)))
    instant = timedelta(microseconds=1)
    for bound, count in ((there, 0), (there - instant, 1), (there + instant, 0)):
        assert len(db.session.scalars(select(Task.id).where(Task.due_at > bound)).all()) == count


@pytest.mark.parametrize(
    ("word", "rank"), [("none", 0), ("low", 1), ("medium", 2), ("high", 3), ("urgent", 4)]
)
def test_ordered_enum_is_stored_as_a_number(context, stored, word, rank):
    row = task(add_user(), priority=word)
    db.session.execute(insert(Task).values(row))
    db.session.commit()
    assert stored(select(Task.priority)) == [(word,)]
    assert stored(text("SELECT priority FROM tasks")) == [(rank,)]
    assert stored(select(func.count()).where(Task.priority == word)) == [(1,)]


@pytest.fixture
def empty_database(settings, database_url, tmp_path, app):
    """An application with an empty database."""
    url = make_url(database_url)
    name = f"task_api_empty_{uuid4().hex}"
    if url.get_backend_name() == "sqlite":
        yield from _run_on(settings, f"sqlite:///{tmp_path}/{name}.db")
        return
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
        address = url.set(database=name).render_as_string(hide_password=False)
        yield from _run_on(settings, address)
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


def _run_on(settings, url):
    app = create_app(settings | {"DATABASE_URL": url})
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def tables():
    internal = {"alembic_version", "sqlite_sequence"}
    return {
        name
        for name in inspect(db.engine).get_table_names()
        if name not in internal and not name.startswith("tasks_search")
    }


def to_text(row):
    """Return a column, index or constraint as text, with the condition of a partial index."""
    options = {name: str(value) for name, value in row.get("dialect_options", {}).items()}
    return str(row | {"dialect_options": options})


def schema():
    """Return columns, constraints and indexes of each table."""
    inspector = inspect(db.engine)
    parts = ("columns", "indexes", "unique_constraints", "foreign_keys", "check_constraints")
    return {
        (name, part): sorted(map(to_text, getattr(inspector, f"get_{part}")(name)))
        for name in tables()
        for part in parts
    }


def test_migrations_upgrade_downgrade_and_upgrade_again(empty_database):
    upgrade(directory=MIGRATIONS)
    first = schema()
    assert tables() == set(db.metadata.tables)
    downgrade(directory=MIGRATIONS, revision="base")
    assert tables() == set()
    upgrade(directory=MIGRATIONS)
    assert schema() == first


def test_each_migration_upgrades_and_downgrades(empty_database):
    scripts = ScriptDirectory(MIGRATIONS)
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    for revision in revisions:
        upgrade(directory=MIGRATIONS, revision=revision)
        downgrade(directory=MIGRATIONS, revision="-1")
        upgrade(directory=MIGRATIONS, revision=revision)
        with db.engine.connect() as connection:
            assert MigrationContext.configure(connection).get_current_revision() == revision


def test_migrations_have_one_head():
    assert len(ScriptDirectory(MIGRATIONS).get_heads()) == 1


def test_migrations_match_the_models(context):
    check(directory=MIGRATIONS)


def test_foreign_keys_are_enforced_after_a_migration(empty_database):
    upgrade(directory=MIGRATIONS)
    with pytest.raises(IntegrityError):
        db.session.execute(insert(Task).values(task(7)))


def test_foreign_keys_are_enforced_after_a_failed_migration(empty_database):
    upgrade(directory=MIGRATIONS)
    with pytest.raises(SystemExit):
        upgrade(directory=MIGRATIONS, revision="unknown_revision")
    with pytest.raises(IntegrityError):
        db.session.execute(insert(Task).values(task(7)))


def test_migration_has_a_lock_timeout(empty_database):
    if db.engine.dialect.name == "sqlite":
        pytest.skip("PostgreSQL only")
    upgrade(directory=MIGRATIONS)
    before = schema()
    with db.engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT FROM tasks")
        with pytest.raises(ClickException, match="lock timeout"):
            downgrade(directory=MIGRATIONS, revision="base")
        reader.exec_driver_sql("ROLLBACK")
    assert schema() == before


def test_upgrade_sets_reminders_of_existing_tasks(empty_database):
    upgrade(directory=MIGRATIONS)
    owner = add_user(time_zone="Asia/Kathmandu")
    soon = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    dues = [
        {"due_at": soon},
        {"due_date": soon.date()},
        {"due_date": soon.date(), "status": "cancelled"},
        {"due_at": soon - timedelta(days=9)},
        {"due_date": soon.date() - timedelta(days=9)},
        {},
    ]
    for due in dues:
        db.session.execute(insert(Task).values(task(owner, **due)))
    db.session.commit()
    db.session.remove()
    downgrade(directory=MIGRATIONS, revision="0007")
    upgrade(directory=MIGRATIONS)
    assert reminders.send_reminders() == 1
    morning = datetime.combine(soon.date(), time(2, 15), UTC)
    reminder_times = db.session.scalars(select(Task.remind_at).order_by(Task.id)).all()
    assert reminder_times == [soon, morning, None, None, None, None]
    assert db.session.scalars(select(OutboxMessage.type)).all() == []


def test_upgrade_indexes_existing_tasks_for_search(empty_database):
    upgrade(directory=MIGRATIONS)
    owner = add_user()
    titles = ["Zürich, ßtraße", "It's 100%", 'a"b\\c_d', "がき हिन्दी", "🙂🙃 ≠", "x" * 150, "Łódź"]
    for title in titles:
        db.session.execute(insert(Task).values(task(owner, title=title, description=title * 5)))
    db.session.commit()
    statement = select(Task.id, Task.search_words).order_by(Task.id)
    before = db.session.execute(statement).all()
    db.session.remove()
    downgrade(directory=MIGRATIONS, revision="0002")
    upgrade(directory=MIGRATIONS, revision="0003")
    assert db.session.execute(statement).all() == before
    db.session.remove()
    upgrade(directory=MIGRATIONS)
    for number, title in enumerate(titles):
        parameters = {"words": owner_words(owner, title)}
        matches = select(Task.id).where(TaskMatches(Task.id, Task.search_words, "words"))
        assert db.session.scalars(matches, parameters).all() == [before[number].id]


def test_only_idle_connections_are_pinged(app, monkeypatch):
    with app.app_context():
        engine = db.engine
        if engine.dialect.name != "postgresql":
            pytest.skip("PostgreSQL only")
        engine.raw_connection().close()
        monkeypatch.setattr(postgresql, "IDLE_SECONDS", 3600)
        pings = []
        ping = engine.dialect.do_ping
        monkeypatch.setattr(engine.dialect, "do_ping", lambda c: pings.append(c) or ping(c))
        engine.raw_connection().close()
        assert pings == []
        monkeypatch.setattr(postgresql, "IDLE_SECONDS", 0)
        engine.raw_connection().close()
        assert len(pings) == 1


def test_pool_is_lifo(context):
    db.engine.dispose()
    with db.engine.connect() as one, db.engine.connect() as other:
        first, last = (conn.connection.dbapi_connection for conn in (other, one))
    for _ in range(3):
        with db.engine.connect() as conn:
            assert conn.connection.dbapi_connection is last
            with db.engine.connect() as second:
                assert second.connection.dbapi_connection is first
