"""Each order of the list is read from its index, on both databases, however many rows there are."""

from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

from sqlalchemy import event, insert, text

from app.extensions import db
from app.tasks.models import Task
from tests.factories import TaskRow

ROWS = 8000
INDEXES = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "due": "due_key",
    "priority": "priority",
    "title": "title_key",
    "position": "position",
}


def fill(account_ids):
    dice = Random(7)
    start = datetime(2029, 1, 1, tzinfo=UTC)
    rows = []
    for number in range(ROWS):
        day = (start + timedelta(days=dice.randrange(700))).date()
        rows.append(
            TaskRow(
                now=start + timedelta(seconds=number),
                title=f"Task {dice.randrange(ROWS)}",
                priority=dice.choice(["none", "low", "medium", "high", "urgent"]),
                due_date=day if number % 4 else None,
                position=f"c{dice.randrange(1000):03}",
                created_by=account_ids[number % len(account_ids)],
            )
        )
    db.session.execute(insert(Task), rows)
    db.session.commit()
    with db.engine.connect() as connection:
        connection.execute(text("ANALYZE"))


@contextmanager
def plans(app):
    """Collect how the database goes about each statement on tasks."""
    with app.app_context():
        engine = db.engine
    found = []

    def explain(conn, cursor, statement, parameters, context, executemany):
        if "FROM tasks" not in statement or context is None:
            return
        command = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
        with closing(conn.connection.dbapi_connection.cursor()) as other:
            other.execute(f"{command} {statement}", parameters)
            found.append("\n".join(str(row[-1]) for row in other.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def pages(account, sort):
    """Read a first page, the one after it, and where some keys are null, the first of nulls."""
    query = {"sort": sort, "limit": 20}
    for _ in range(2):
        answer = account.get("/tasks", query_string=query).json
        assert len(answer["data"]) == 20
        query["cursor"] = answer["next_cursor"]
    while sort.endswith("due") and answer["data"][-1]["due_date"]:
        answer = account.get("/tasks", query_string=query | {"limit": 200}).json
        query["cursor"] = answer["next_cursor"]
    account.get("/tasks", query_string=query)


def test_every_order_is_read_from_its_index_both_ways(app, alice, bob):
    with app.app_context():
        fill([alice.id, bob.id])
    for sort, key in INDEXES.items():
        for direction in ("", "-"):
            with plans(app) as seen:
                pages(alice, direction + sort)
            for plan in (*seen[:2], seen[-1]):
                # A page that may hold both is put together from one with keys and one of nulls.
                runs = plan.count("tasks USING INDEX") + plan.count(" on tasks")
                sorts = plan.count("ORDER BY") + plan.count("Sort Key")
                assert plan.count(f"ix_tasks_created_by_{key}_id") == runs, plan
                assert (runs, sorts) in ({(1, 0), (2, 1)} if sort == "due" else {(1, 0)}), plan
