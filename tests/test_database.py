"""The ground: connections, column types, constraints, migrations."""

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
from sqlalchemy import create_engine, delete, func, insert, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from app import create_app
from app.auth.models import TaskGeneration, User
from app.database import MOST_MAPPED, _is_near, violated_constraint
from app.extensions import db
from app.floor import floor
from app.http.searching import COUNTED_WORDS
from app.outbox.models import OutboxItem
from app.tasks import reminders
from app.tasks.matching import is_found
from app.tasks.models import Task
from app.tasks.search import listed_words
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


def test_a_read_begins_no_transaction_and_a_write_does(context):
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


@pytest.mark.parametrize("way", ["rollback", "close", "remove"])
def test_what_is_not_committed_leaves_nothing(context, stored, way):
    add_user()
    db.session.execute(update(User).values(time_zone="Asia/Tokyo"))
    getattr(db.session, way)()
    assert not in_transaction()
    assert stored(select(User.id)) == []


def test_all_writes_of_one_transaction_fail_together(context, stored):
    add_user()
    with pytest.raises(IntegrityError):
        add_user()
    db.session.rollback()
    assert stored(select(User.id)) == []


def test_a_file_of_sqlite_checks_references_lets_readers_read_and_is_mapped(settings, tmp_path):
    app = create_app(settings | {"DATABASE_URL": f"sqlite:///{tmp_path}/tasks.db"})
    with app.app_context():
        pragmas = ("foreign_keys", "journal_mode", "busy_timeout", "mmap_size")
        told = [db.session.scalar(text(f"PRAGMA {name}")) for name in pragmas]
        db.session.remove()
        db.engine.dispose()
    assert told == [1, "wal", 30_000, MOST_MAPPED]


def test_writers_wait_for_one_another(app, alice, stored):
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
def test_a_broken_constraint_of_an_account_is_named(context, changes, name):
    add_user()
    with pytest.raises(IntegrityError) as refusal:
        add_user(**changes)
    assert violated_constraint(refusal.value) == name


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
def test_a_broken_constraint_of_a_task_is_named(context, changes, name):
    row = task(add_user())
    with pytest.raises(IntegrityError) as refusal:
        db.session.execute(insert(Task).values(row | changes))
    assert violated_constraint(refusal.value) == name


def test_a_reference_to_nothing_is_refused(context, stored):
    with pytest.raises(IntegrityError) as refusal:
        db.session.execute(insert(Task).values(task(7)))
    # SQLite alone does not say which reference it was.
    assert violated_constraint(refusal.value) in {None, "fk_tasks_created_by"}
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
def test_an_instant_comes_back_the_same_and_in_utc(context, stored, instant):
    row = task(add_user(), due_at=instant)
    db.session.execute(insert(Task).values(row))
    db.session.commit()
    [(found, key)] = stored(select(Task.due_at, Task.due_key))
    assert found == key == instant
    assert found is None or found.tzinfo is UTC


def test_instants_are_compared_as_instants(context):
    row = task(add_user(), due_at=MOMENT)
    db.session.execute(insert(Task).values(row))
    there = MOMENT.astimezone(timezone(timedelta(hours=-9)))
    instant = timedelta(microseconds=1)
    for bound, count in ((there, 0), (there - instant, 1), (there + instant, 0)):
        assert len(db.session.scalars(select(Task.id).where(Task.due_at > bound)).all()) == count


@pytest.mark.parametrize(
    ("word", "rank"), [("none", 0), ("low", 1), ("medium", 2), ("high", 3), ("urgent", 4)]
)
def test_a_rank_is_stored_as_a_number_and_comes_back_as_its_word(context, stored, word, rank):
    row = task(add_user(), priority=word)
    db.session.execute(insert(Task).values(row))
    db.session.commit()
    assert stored(select(Task.priority)) == [(word,)]
    assert stored(text("SELECT priority FROM tasks")) == [(rank,)]
    assert stored(select(func.count()).where(Task.priority == word)) == [(1,)]


@pytest.fixture
def fresh(settings, database_url, tmp_path, app):
    """An application on a database in which nothing is yet."""
    url = make_url(database_url)
    name = f"task_api_fresh_{uuid4().hex}"
    if url.get_backend_name() == "sqlite":
        yield from _on(settings, f"sqlite:///{tmp_path}/{name}.db")
        return
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
        address = url.set(database=name).render_as_string(hide_password=False)
        yield from _on(settings, address)
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


def _on(settings, url):
    made = create_app(settings | {"DATABASE_URL": url})
    with made.app_context():
        yield made
        db.session.remove()
        db.engine.dispose()


def tables():
    own = {"alembic_version", "sqlite_sequence"}
    return {
        name
        for name in inspect(db.engine).get_table_names()
        if name not in own and not name.startswith("tasks_search")
    }


def described(row):
    """Return all that is told of a part of a table as text, with the condition of an index."""
    options = {name: str(value) for name, value in row.get("dialect_options", {}).items()}
    return str(row | {"dialect_options": options})


def schema():
    """All that can be told of a database: columns, constraints and indexes of each table."""
    found = inspect(db.engine)
    ways = ("columns", "indexes", "unique_constraints", "foreign_keys", "check_constraints")
    return {
        (name, way): sorted(map(described, getattr(found, f"get_{way}")(name)))
        for name in tables()
        for way in ways
    }


def test_every_migration_goes_up_down_and_up_again(fresh):
    upgrade(directory=MIGRATIONS)
    first = schema()
    assert tables() == set(db.metadata.tables)
    downgrade(directory=MIGRATIONS, revision="base")
    assert tables() == set()
    upgrade(directory=MIGRATIONS)
    assert schema() == first


def test_a_downgrade_and_an_upgrade_step_by_step_reach_the_head(fresh):
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


def test_migrations_build_just_what_the_models_say(context):
    check(directory=MIGRATIONS)


def test_a_migration_leaves_references_checked(fresh):
    upgrade(directory=MIGRATIONS)
    with pytest.raises(IntegrityError):
        db.session.execute(insert(Task).values(task(7)))


def test_a_migration_that_fails_leaves_references_checked(fresh):
    upgrade(directory=MIGRATIONS)
    with pytest.raises(SystemExit):
        upgrade(directory=MIGRATIONS, revision="nothing_of_that_name")
    with pytest.raises(IntegrityError):
        db.session.execute(insert(Task).values(task(7)))


def test_a_migration_gives_up_on_a_lock_that_others_hold_rather_than_hold_them_up(fresh):
    if db.engine.dialect.name == "sqlite":
        pytest.skip("about PostgreSQL")
    upgrade(directory=MIGRATIONS)
    before = schema()
    with db.engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT FROM tasks")
        with pytest.raises(ClickException, match="lock timeout"):
            downgrade(directory=MIGRATIONS, revision="base")
        reader.exec_driver_sql("ROLLBACK")
    assert schema() == before


def test_tasks_that_are_there_are_reminded_of_after_an_upgrade(fresh):
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
    found = db.session.scalars(select(Task.remind_at).order_by(Task.id)).all()
    assert found == [soon, morning, None, None, None, None]
    assert db.session.scalars(select(OutboxItem.kind)).all() == []


def test_the_words_of_tasks_that_are_there_are_found_after_an_upgrade(fresh):
    upgrade(directory=MIGRATIONS)
    owner = add_user()
    titles = ["Zürich, ßtraße", "It's 100%", 'a"b\\c_d', "がき हिन्दी", "🙂🙃 ≠", "x" * 150, "Łódź"]
    for title in titles:
        db.session.execute(insert(Task).values(task(owner, title=title, description=title * 5)))
    db.session.commit()
    kept = select(Task.id, Task.search_words).order_by(Task.id)
    before = db.session.execute(kept).all()
    db.session.remove()
    downgrade(directory=MIGRATIONS, revision="0002")
    upgrade(directory=MIGRATIONS, revision="0003")
    assert db.session.execute(kept).all() == before
    db.session.remove()
    upgrade(directory=MIGRATIONS)
    for number, title in enumerate(titles):
        asked = {"words": listed_words(owner, title)[:COUNTED_WORDS]}
        found = db.session.scalars(select(Task.id).where(is_found("words")), asked).all()
        assert found == [before[number].id]


def test_the_tasks_that_are_there_have_a_generation_after_an_upgrade(fresh):
    upgrade(directory=MIGRATIONS)
    owner, _ = add_user(), add_user(username="bob")
    db.session.execute(insert(Task).values(task(owner)))
    db.session.commit()
    db.session.remove()
    downgrade(directory=MIGRATIONS, revision="0008")
    upgrade(directory=MIGRATIONS)
    kept = select(TaskGeneration.user_id, TaskGeneration.generation)
    assert db.session.execute(kept).all() == [(owner, 1)]
    for write in (update(Task).values(title="New"), insert(Task).values(task(owner)), delete(Task)):
        [(_, before)] = db.session.execute(kept).all()
        db.session.execute(write)
        db.session.commit()
        [(_, after)] = db.session.execute(kept).all()
        assert after > before


def test_a_connection_is_asked_whether_it_is_there_only_after_a_while(app, monkeypatch):
    with app.app_context():
        engine = db.engine
        if engine.dialect.name != "postgresql":
            pytest.skip("about PostgreSQL")
        engine.raw_connection().close()
        monkeypatch.setattr("app.database.IDLE_SECONDS", 3600)
        asked = []
        ping = engine.dialect.do_ping
        monkeypatch.setattr(engine.dialect, "do_ping", lambda c: asked.append(c) or ping(c))
        engine.raw_connection().close()
        assert asked == []
        monkeypatch.setattr("app.database.IDLE_SECONDS", 0)
        engine.raw_connection().close()
        assert len(asked) == 1


def test_the_connection_that_was_given_back_last_is_taken_next(context):
    db.engine.dispose()
    with db.engine.connect() as one, db.engine.connect() as other:
        first, last = (conn.connection.dbapi_connection for conn in (other, one))
    for _ in range(3):
        with db.engine.connect() as conn:
            assert conn.connection.dbapi_connection is last
            with db.engine.connect() as beside:
                assert beside.connection.dbapi_connection is first


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.7", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
    ],
)
def test_a_database_is_near_on_this_machine_alone(address, near):
    assert _is_near(address) is near


@pytest.mark.parametrize("near", [True, False])
def test_while_a_database_elsewhere_works_the_floor_is_another_threads(app, monkeypatch, near):
    monkeypatch.setattr("app.floor.PATIENCE", 60)
    order = []

    def answer():
        floor.take()
        order.append("another")
        floor.leave()

    with app.app_context(), ThreadPoolExecutor(1) as threads:
        if db.engine.dialect.name != "postgresql":
            pytest.skip("about PostgreSQL")
        connection = db.engine.raw_connection()
        assert connection.dbapi_connection.is_near
        connection.dbapi_connection.is_near = near
        floor.take()
        answered = threads.submit(answer)
        connection.cursor().execute("SELECT pg_sleep(0.3)")
        order.append("the database")
        assert floor.leave()
        answered.result(5)
        connection.invalidate()
    assert order == (["the database", "another"] if near else ["another", "the database"])
