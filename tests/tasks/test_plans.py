"""Query plans: each sort order of the list uses its index, on SQLite and PostgreSQL."""

import re
from datetime import UTC, datetime, timedelta
from itertools import chain
from random import Random

import pytest
from sqlalchemy import insert, select, text

from app.auth.models import User
from app.extensions import db
from app.tasks import reminders
from app.tasks.models import Task
from tests.factories import TaskRow, UserRow
from tests.plans import analyse, plans

ROWS = 8000
INDEXES = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "due": "due_key",
    "priority": "priority",
    "title": "title_key",
    "position": "position",
}
# Numbers of index scans and sorts allowed where keys can be null.
MERGED = {"due": [(2, 1)]}
FILTERS = {
    "status": "pending",
    "priority": "high",
    "due_before": "2030-06-01",
    "due_after": "2029-06-01",
    "has_due": "true",
    "created_after": "2028-12-31",
    "updated_since": "2028-12-31",
    "overdue": "false",
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
    analyse()


def pages(account, sort):
    """Read two pages, and one that begins among the rows with null keys, if there are any."""
    query = {"sort": sort, "limit": 20}
    for _ in range(2):
        response = account.get("/tasks", query_string=query).json
        assert len(response["data"]) == 20
        query["cursor"] = response["next_cursor"]
    while sort.endswith("due") and response["data"][-1]["due_date"]:
        response = account.get("/tasks", query_string=query | {"limit": 200}).json
        query["cursor"] = response["next_cursor"]
    account.get("/tasks", query_string=query)


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize(("sort", "key"), INDEXES.items())
def test_next_page_of_equal_keys_is_an_index_lookup(app, alice, bob, sort, key, direction):
    with app.app_context():
        fill([alice.id, bob.id])
    with plans(app) as seen:
        pages(alice, direction + sort)
    # The index condition on the key and the id: SQLite's form, and PostgreSQL's.
    lookup = (
        rf"\({key},rowid\)[<>]\(\?,\?\)"
        rf"|Index Cond: .*ROW\(\(?{key}(\)::text)?, id\) [<>] ROW"
    )
    following = seen[1:]
    if sort == "due":
        *following, last = following
        after_null = r"due_key=\? AND rowid[<>]\?|due_key IS NULL\) AND \(id [<>]"
        assert re.search(after_null, last), last
    for plan in following:
        assert re.search(lookup, plan.replace('"', "")), plan


def test_every_sort_order_uses_its_index(app, alice, bob):
    with app.app_context():
        fill([alice.id, bob.id])
    for sort, key in INDEXES.items():
        for direction in ("", "-"):
            with plans(app) as seen:
                pages(alice, direction + sort)
            for plan in (*seen[:2], seen[-1]):
                # If keys can be null, a page is a union of two index scans: rows with keys, and
                # rows without. Only the rows of the page may then be sorted.
                scans = plan.count("tasks USING INDEX") + plan.count(" on tasks")
                sorts = plan.count("ORDER BY") + plan.count("Sort Key")
                assert len(re.findall(rf"ix_tasks_created_by_{key}(_id)?\b", plan)) == scans, plan
                assert (scans, sorts) in {(1, 0), *MERGED.get(sort, ())}, plan


def test_postgresql_reuses_generic_plans_with_many_users(app, alice):
    with app.app_context():
        if db.engine.dialect.name != "postgresql":
            pytest.skip("PostgreSQL only")
        accounts = UserRow.build_batch(400)
        others = db.session.scalars(insert(User).returning(User.id), accounts)
        fill(list(chain.from_iterable((alice.id, other) for other in others)))
    for sort, key in INDEXES.items():
        # The driver prepares a statement at its sixth execution. PostgreSQL plans five executions
        # of a prepared statement, and then uses its generic plan if that costs no more.
        for limit in range(30, 50):
            alice.get("/tasks", query_string={"sort": sort, "limit": limit})
        with app.app_context(), db.engine.connect() as connection:
            prepared = "FROM pg_prepared_statements WHERE statement LIKE :like"
            like = {"like": f"%ORDER BY tasks.{key} ASC%"}
            generic_plans = connection.execute(text(f"SELECT generic_plans {prepared}"), like)
            assert generic_plans.scalar_one() == 10, sort


def test_reminder_query_uses_its_index_among_100000_tasks(app, alice):
    moment = datetime(2030, 1, 31, 9, tzinfo=UTC)
    columns = [column for column in Task.__table__.c if column.name != "id"]
    with app.app_context():
        rows = [
            TaskRow(created_by=alice.id, due_at=moment) | {"remind_at": None if n % 50 else moment}
            for n in range(1000)
        ]
        db.session.execute(insert(Task), rows)
        for _ in range(99):
            copies = select(*columns).order_by(Task.id).limit(1000)
            db.session.execute(insert(Task).from_select(columns, copies))
        db.session.commit()
        analyse()
        with plans(app) as seen:
            params = {"now": moment, "batch_size": 500}
            candidates = db.session.execute(reminders.CANDIDATES, params).all()
            db.session.rollback()
    assert len(candidates) == 500
    [plan] = seen
    assert "ix_tasks_remind_at" in plan
    # No sort and no full scan: only the returned rows are read.
    assert not re.search(r"ORDER BY|Sort|SCAN tasks|Seq Scan on tasks", plan), plan


def test_filtered_list_uses_an_index(app, alice, accounts):
    others = [accounts.make(f"other{number}").id for number in range(6)]
    with app.app_context():
        fill([alice.id, *others])
    for name, value in FILTERS.items():
        for sort in ("-created_at", "-priority"):
            with plans(app) as seen:
                assert alice.get("/tasks", query_string={name: value, "sort": sort}).json["data"]
            assert seen
            for plan in seen:
                # In a table this small, a scan by primary key may be as cheap.
                assert "ix_tasks_created_by_" in plan or "pk_tasks" in plan, (name, plan)
                assert "SCAN tasks" not in plan, (name, plan)
                assert "Seq Scan on tasks" not in plan, (name, plan)
