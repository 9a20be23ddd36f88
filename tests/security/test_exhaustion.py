"""Checks E2 and E3: deep pages, floods of requests and long runs.

Set E3_REQUESTS=20000 for the long run.
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from threading import Event

import pytest
from sqlalchemy import NullPool, create_engine, insert, select, text

from app import create_app
from app.config import database_url
from app.extensions import db
from app.tasks.models import Task, build_task_values
from benchmarks.server import Client, started
from tests.accounts import PASSWORD

POSTGRES = os.environ.get("TEST_DATABASE_URL")
REQUESTS = int(os.environ.get("E3_REQUESTS", "4000"))
ROWS = 100_000
CROWD = 40
THREADS = 8
WORKERS = 2


def fill(owner_id, count, year):
    """Insert tasks of a user created in one year: a thousand, then copies of them."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    first = [
        build_task_values(
            start + timedelta(minutes=number),
            owner_zone="UTC",
            title=f"Task {number}",
            description=None,
            status="pending",
            priority="none",
            due_date=None,
            due_at=None,
            time_zone=None,
            position="a0",
            created_by=owner_id,
        )
        for number in range(min(count, 1000))
    ]
    db.session.execute(insert(Task), first)
    columns = [column for column in Task.__table__.c if column.name != "id"]
    inserted = (Task.created_by == owner_id, Task.created_at >= start)
    copied = select(*columns).where(*inserted, Task.created_at < start + timedelta(days=365))
    for _ in range(count // len(first) - 1):
        db.session.execute(insert(Task).from_select(columns, copied.limit(len(first))))
    db.session.commit()
    with db.engine.connect() as connection:
        # PostgreSQL does this in the background.
        sqlite = db.engine.dialect.name == "sqlite"
        connection.execute(text("ANALYZE" if sqlite else "VACUUM ANALYZE"))


def test_e2_deepest_page_costs_as_much_as_the_first(app, alice):
    first = {"limit": 200, "sort": "created_at"}
    with app.app_context():
        fill(alice.id, 400, 2030)
        cursor = alice.get("/tasks", query_string=first).json["next_cursor"]
        fill(alice.id, ROWS, 2029)
    deepest = first | {"cursor": cursor}

    def cost(query, year):
        start = time.perf_counter()
        response = alice.get("/tasks", query_string=query)
        taken = time.perf_counter() - start
        assert len(response.json["data"]) == 200
        assert all(task["created_at"].startswith(year) for task in response.json["data"])
        return taken

    costs = [(cost(first, "2029"), cost(deepest, "2030")) for _ in range(25)]
    of_first, of_deepest = (median(taken) for taken in zip(*costs, strict=True))
    assert of_deepest < 1.5 * of_first
    assert of_deepest < 1


def memory(pid):
    """Return the anonymous memory of a process in bytes."""
    contents = Path(f"/proc/{pid}/smaps_rollup").read_text()
    [kilobytes] = re.findall(r"^Anonymous: +(\d+) kB$", contents, re.MULTILINE)
    return int(kilobytes) * 1024


def connections(server):
    """Return the number of database connections of the server."""
    if not POSTGRES:
        file = server.database_url.removeprefix("sqlite:///")
        links = []
        for worker in server.workers():
            for link in Path(f"/proc/{worker}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed in the meantime
                    links.append(str(link.readlink()))
        return links.count(file)
    engine = create_engine(database_url(server.database_url), poolclass=NullPool)
    count = text("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()")
    with engine.connect() as connection:
        return connection.scalar(count)


def register(server, name="ada"):
    """Register a user, and return the headers of its requests."""
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    with Client(server.port) as client:
        assert client.call("POST", "/auth/register", account)[0] == 201
        client.log_in(name, PASSWORD)
        return client.headers


@pytest.fixture
def server():
    with started(POSTGRES, WEB_CONCURRENCY=str(WORKERS), THREADS=str(THREADS)) as running:
        yield running


def test_e2_health_check_responds_during_a_flood_of_slow_queries(server, settings):
    headers = register(server)
    app = create_app(settings | {"DATABASE_URL": server.database_url})
    with app.app_context():
        fill(db.session.scalar(text("SELECT min(id) FROM users")), 20_000, 2029)
        db.engine.dispose()
    over = Event()

    def flood(_number):
        with Client(server.port) as client:
            client.headers = headers
            while not over.is_set():
                # Each word is in many rows, all of them in none.
                status, _ = client.call("GET", "/tasks?limit=200&q=t%20ta%20tas%20task%201%20no")
                assert status == 200

    def live():
        """Send a health check on a new connection, and return its duration."""
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        start = time.monotonic()
        connection.request("GET", "/health/live")
        assert connection.getresponse().status == 200
        connection.close()
        return time.monotonic() - start

    with ThreadPoolExecutor(CROWD) as threads:
        running = [threads.submit(flood, number) for number in range(CROWD)]
        try:
            time.sleep(0.5)
            durations = [live() for _ in range(5)]
        finally:
            over.set()
        for one in running:
            one.result()
    assert max(durations) < 5


MIX = [
    ("PATCH", "/tasks/{id}", {"description": "x" * 1000}, 200),
    ("GET", "/tasks?limit=20&q=task", None, 200),
    ("POST", "/tasks", {"title": "", "unknown": 1}, 422),
    ("GET", "/nothing/{id}", None, 404),
    ("PUT", "/tasks/{id}/status", {"status": "completed"}, 200),
    ("GET", "/tasks/{id}", None, 200),
    ("GET", "/auth/sessions", None, 200),
    ("GET", "/tasks?limit=20&sort=-due&priority=none,low", None, 200),
    ("DELETE", "/tasks/{id}", None, 204),
]


def use(server, headers, rounds):
    """Create, read, update, search and delete tasks, and send invalid requests."""
    with Client(server.port) as client:
        client.headers = headers
        for number in range(rounds):
            status, task = client.call("POST", "/tasks", {"title": f"Task {number}"})
            assert status == 201
            for method, path, body, expected in MIX:
                status, _ = client.call(method, path.format(id=task["id"]), body)
                assert status == expected, (method, path)


def test_e3_memory_and_connections_stay_flat(server):
    headers = register(server)
    clients = THREADS * WORKERS * 2
    counts = []

    def run(requests):
        with ThreadPoolExecutor(clients) as threads:
            rounds = requests // clients // (1 + len(MIX))
            running = [threads.submit(use, server, headers, rounds) for _ in range(clients)]
            while not all(one.done() for one in running):
                counts.append(connections(server))
                time.sleep(0.2)
            for one in running:
                one.result()
        return sum(map(memory, server.workers()))

    run(1500)  # starts every thread and fills every cache
    before = run(REQUESTS // 2)
    after = run(REQUESTS // 2)
    assert after < before * 1.1, (before, after)
    assert 0 < max(counts) <= THREADS * WORKERS
