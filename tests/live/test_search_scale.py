"""A page of a search takes at most five times the time of the plain page of its order and place.

SEARCH_ROWS=1000000 runs it, where nothing else runs: among other tests their neighbours' work
counts too, and a small table is sorted where a large one is walked. With pytest's -s it tells each.
What it finds stands in docs/decisions/0007-search.md.
"""

import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from time import perf_counter
from urllib.parse import quote

import pytest
from sqlalchemy import insert, text

from app import create_app
from app.extensions import db
from app.tasks.models import Priority, Task, task_values
from benchmarks.server import Client, started
from tests.conftest import SECRET

PASSWORD = "correct horse battery"
ROWS = int(os.environ.get("SEARCH_ROWS", "40000"))
LONG = ROWS > 100_000
OTHERS = ROWS if LONG else ROWS // 4
ROUNDS = 8 if LONG else 5
MOST = 5
SORTS = ("-created_at", "title", "due", "priority", "position")
SEARCHES = {
    "in none": "nowhere",
    "in one": "single",
    "in 5 of 1000": "scarce",
    "in 10 of 1000": "seldom",
    "in 20 of 1000": "some",
    "in every tenth": "tenth",
    "in every other": "half",
    "one letter": "h",
    "a sign": "*",
    "in another's only": "foreign",
    "two, each in every tenth": "tenth tithe",
    "two, in 5 of 1000 and in every other": "scarce half",
    "two, in 5 and in 20 of 1000": "scarce some",
    "two, in 10 and in 20 of 1000": "seldom some",
    "three, in 5, 10 and 20 of 1000": "scarce seldom some",
    "three, in every tenth, in 5 of 1000 and in one": "tenth scarce single",
}


def tasks(owner_id, count, more=""):
    """Yield tasks made one after another, whose words, priorities and due days are strewn."""
    dice = Random(owner_id)
    start = datetime(2029, 1, 1, tzinfo=UTC)
    chances = {
        "scarce": 0.005,
        "seldom": 0.01,
        "some": 0.02,
        "tenth": 0.1,
        "tithe": 0.1,
        "half": 0.5,
    }
    for number in range(count):
        said = [f"word{dice.randrange(20_000)}", "*Write*", more]
        said += [word for word, chance in chances.items() if dice.random() < chance]
        said += ["single"] * (number == count // 2)
        day = (start + timedelta(days=dice.randrange(700))).date()
        yield task_values(
            start + timedelta(seconds=number),
            owner_zone="UTC",
            title=" ".join(said).strip(),
            description=dice.choice([None, "Ask the others first."]),
            status="pending",
            priority=dice.choice(list(Priority)).name,
            due_date=day if dice.random() < 0.75 else None,
            due_at=None,
            time_zone=None,
            position=f"b{number:08}",
            created_by=owner_id,
        )


def fill(database_url, instance, owners):
    """Put tasks in for accounts, so many each and with one more word."""
    app = create_app(
        {
            "TESTING": True,
            "DATABASE_URL": database_url,
            "SECRET_KEY": SECRET,
            "JWT_SECRET_KEY": SECRET,
            "INSTANCE_PATH": str(instance),
            "DB_TIMEOUT": 600,
        }
    )
    with app.app_context():
        for owner_id, count, more in owners:
            rows = tasks(owner_id, count, more)
            while some := list(islice(rows, 5000)):
                db.session.execute(insert(Task), some)
                db.session.commit()
        with db.engine.connect() as connection:
            # As PostgreSQL does by itself, after a while.
            sqlite = db.engine.dialect.name == "sqlite"
            connection.execute(text("ANALYZE" if sqlite else "VACUUM ANALYZE"))
        db.engine.dispose()


@pytest.fixture
def crowded(tmp_path):
    """A client of a started server, whose account has many tasks, and is not the only one."""
    with started(os.environ.get("TEST_DATABASE_URL")) as server, Client(server.port) as client:
        ids = {}
        for name in ("other", "crowded"):
            account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            status, user = client.call("POST", "/auth/register", account)
            assert status == 201
            ids[name] = user["id"]
        owners = [(ids["other"], OTHERS, "foreign"), (ids["crowded"], ROWS, "")]
        fill(server.database_url, tmp_path, owners)
        client.log_in("crowded", PASSWORD)
        yield client


def timed(client, path, times):
    """Ask once more, in a way that was not asked in before, so that the page is read anew."""
    start = perf_counter()
    status, page = client.call("GET", path + "&" * times)
    taken = perf_counter() - start
    assert status == 200, page
    return taken, page


def dear(client, paths):
    """Return how many times a plain page's time these pages take.

    Of each the quickest round counts: what else a machine does only ever adds to a time.
    """
    taken = {name: [] for name in paths}
    for number in range(3 + ROUNDS):
        for name, path in paths.items():
            taken[name].append(timed(client, path, number + 1)[0])
    least = {name: min(times[3:]) for name, times in taken.items()}
    return {name: time / least["plain"] for name, time in least.items()}


@pytest.mark.skipif("SEARCH_ROWS" not in os.environ, reason="wants a machine of its own")
def test_a_search_takes_at_most_five_times_a_plain_page(crowded):
    found = {}
    for sort in SORTS:
        first = {"plain": f"/tasks?sort={sort}"}
        first |= {name: f"/tasks?sort={sort}&q={quote(q)}" for name, q in SEARCHES.items()}
        cursors = {name: timed(crowded, path, 0)[1]["next_cursor"] for name, path in first.items()}
        further = {
            name: f"{first[name]}&cursor={cursor}" for name, cursor in cursors.items() if cursor
        }
        assert {"plain", "in 5 of 1000", "two, each in every tenth"} <= further.keys()
        for place, paths in (("first", first), ("further", further)):
            for name, ratio in dear(crowded, paths).items():
                found[sort, name, place] = round(ratio, 2)
    print(*(f"{ratio} {' | '.join(key)}" for key, ratio in found.items()), sep="\n")  # noqa: T201  # for -s
    assert {key: ratio for key, ratio in found.items() if ratio > MOST} == {}
