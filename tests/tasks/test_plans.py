"""Each order of the list is read from its index, on both databases, however many rows there are."""

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


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize(("sort", "key"), INDEXES.items())
def test_the_next_of_many_that_are_alike_is_looked_up_and_not_searched_for(
    app, alice, bob, sort, key, direction
):
    with app.app_context():
        fill([alice.id, bob.id])
    with plans(app) as seen:
        pages(alice, direction + sort)
    # SQLite, and PostgreSQL: the place is found by the key and the id.
    looked_up = (
        rf"\({key},rowid\)[<>]\(\?,\?\)"
        rf"|Index Cond: .*ROW\(\(?{key}(\)::text)?, id\) [<>] ROW"
    )
    following = seen[1:]
    if sort == "due":
        *following, last = following
        after_null = r"due_key=\? AND rowid[<>]\?|due_key IS NULL\) AND \(id [<>]"
        assert re.search(after_null, last), last
    for plan in following:
        assert re.search(looked_up, plan.replace('"', "")), plan


def test_every_order_is_read_from_its_index_both_ways(app, alice, bob):
    with app.app_context():
        fill([alice.id, bob.id])
    for sort, key in INDEXES.items():
        for direction in ("", "-"):
            with plans(app) as seen:
                pages(alice, direction + sort)
            for plan in (*seen[:2], seen[-1]):
                # Where there are nulls, a page is put together from two runs: with keys, and of
                # nulls. A page's rows, no more, may be sorted to that end.
                runs = plan.count("tasks USING INDEX") + plan.count(" on tasks")
                sorts = plan.count("ORDER BY") + plan.count("Sort Key")
                assert len(re.findall(rf"ix_tasks_created_by_{key}(_id)?\b", plan)) == runs, plan
                assert (runs, sorts) in {(1, 0), *MERGED.get(sort, ())}, plan


def test_among_many_accounts_the_plan_of_a_page_is_kept(app, alice):
    with app.app_context():
        if db.engine.dialect.name != "postgresql":
            pytest.skip("about PostgreSQL")
        accounts = UserRow.build_batch(400)
        others = db.session.scalars(insert(User).returning(User.id), accounts)
        fill(list(chain.from_iterable((alice.id, other) for other in others)))
    for sort, key in INDEXES.items():
        # The driver prepares what comes for the sixth time; PostgreSQL compares the plans of five.
        for limit in range(30, 50):
            alice.get("/tasks", query_string={"sort": sort, "limit": limit})
        with app.app_context(), db.engine.connect() as connection:
            prepared = "FROM pg_prepared_statements WHERE statement LIKE :like"
            like = {"like": f"%ORDER BY tasks.{key} ASC%"}
            found = connection.execute(text(f"SELECT generic_plans {prepared}"), like)
            assert found.scalar_one() == 10, sort


def test_what_is_to_be_reminded_of_among_100000_tasks_is_found_by_its_index(app, alice):
    moment = datetime(2030, 1, 31, 9, tzinfo=UTC)
    columns = [column for column in Task.__table__.c if column.name != "id"]
    with app.app_context():
        rows = [
            TaskRow(created_by=alice.id, due_at=moment) | {"remind_at": None if n % 50 else moment}
            for n in range(1000)
        ]
        db.session.execute(insert(Task), rows)
        for _ in range(99):
            copied = select(*columns).order_by(Task.id).limit(1000)
            db.session.execute(insert(Task).from_select(columns, copied))
        db.session.commit()
        analyse()
        with plans(app) as seen:
            params = {"now": moment, "batch_size": 500}
            found = db.session.execute(reminders.CANDIDATES, params).all()
            db.session.rollback()
    assert len(found) == 500
    [plan] = seen
    assert "ix_tasks_remind_at" in plan
    # Neither sorted nor read through: as many rows are looked at as are taken.
    assert not re.search(r"ORDER BY|Sort|SCAN tasks|Seq Scan on tasks", plan), plan


def test_a_filtered_list_is_read_from_an_index(app, alice, accounts):
    others = [accounts.make(f"other{number}").id for number in range(6)]
    with app.app_context():
        fill([alice.id, *others])
    for name, value in FILTERS.items():
        for sort in ("-created_at", "-priority"):
            with plans(app) as seen:
                assert alice.get("/tasks", query_string={name: value, "sort": sort}).json["data"]
            assert seen
            for plan in seen:
                # In a table as small as this, what has one priority is found by its id as soon.
                assert "ix_tasks_created_by_" in plan or "pk_tasks" in plan, (name, plan)
                assert "SCAN tasks" not in plan, (name, plan)
                assert "Seq Scan on tasks" not in plan, (name, plan)
