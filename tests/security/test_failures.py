"""Checks F1 to F5: failures of the server and the database, and clients that lose no data."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from threading import Barrier, Event

import pytest
from flask_migrate import upgrade
from sqlalchemy import create_engine, func, insert, select, text

from app import create_app
from app.config import database_url
from app.db.engine import disable_timeouts
from app.extensions import db
from app.tasks.models import Task
from benchmarks.server import Client, started
from tests.accounts import PASSWORD, Accounts
from tests.conftest import ROOT
from tests.factories import TaskRow
from tests.problems import assert_problem
from tests.security import cluster

POSTGRES = os.environ.get("TEST_DATABASE_URL")
TIMEOUT = 2
CROWD = 8
ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}


class TestServer:
    """A running server that is killed or stopped."""

    @pytest.fixture
    def server(self):
        with started(POSTGRES) as running, Client(running.port) as client:
            assert client.call("POST", "/auth/register", ADA)[0] == 201
            yield running

    def test_f1_created_tasks_survive_a_killed_server(self):
        options = ["--creates", "1000", *(["--database", POSTGRES] if POSTGRES else [])]
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.crash", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        report = json.loads(process.stdout)
        assert 0 < report["created"] < 1000
        assert report["stored"] >= report["created"]
        assert (report["lost"], report["duplicated"]) == (0, 0)

    def test_f1_killed_worker_loses_no_created_task(self, server):
        created = {}
        with log_in(server) as client:
            token = client.headers

        def create_some(first):
            with Client(server.port) as client:
                client.headers = dict(token)
                for number in range(first, 200, CROWD):
                    client.headers["Idempotency-Key"] = f"create-{number}"
                    while number not in created:
                        create(client, number)

        def create(client, number):
            try:
                status, body = client.call("POST", "/tasks", {"title": f"Task {number}"})
            except (OSError, HTTPException):
                reconnect(client)
                return
            if status == 201:
                created[number] = body
            else:  # the request of the killed worker may still hold the key
                assert (status, body["code"]) == (409, "idempotency_in_progress")
                time.sleep(0.1)

        with ThreadPoolExecutor(CROWD) as threads:
            running = [threads.submit(create_some, first) for first in range(CROWD)]
            for count in (40, 120):
                while len(created) < count:
                    time.sleep(0.005)
                os.kill(server.workers()[0], signal.SIGKILL)
            for one in running:
                one.result()
        with log_in(server) as client:
            assert listed(client) == sorted(created.values(), key=lambda task: task["id"])
        assert len(created) == 200

    def test_f5_requests_in_flight_at_sigterm_get_a_response(self, server):
        bodies = [{"title": f"Task {number}"} for number in range(CROWD)]
        with log_in(server) as client:
            unfinished = [send_partially(client, body) for body in bodies]
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        titles = []
        for connection, rest in unfinished:
            connection.sendall(rest)
            status, body = read_response(connection)
            assert " 201 " in status
            titles.append(json.loads(body)["title"])
        assert server.process.wait(timeout=30) == 0
        assert committed(server) == titles

    def test_f5_sigterm_under_load_drops_no_response(self, server):
        enough, created = Event(), []
        ready = Barrier(CROWD)

        def create_until_closed(number):
            with log_in(server) as client:
                ready.wait(30)
                for turn in range(100_000):
                    if number % 2:
                        reconnect(client)
                    try:
                        status, body = client.call("POST", "/tasks", {"title": f"{number}.{turn}"})
                    except (OSError, HTTPException):
                        return
                    assert status == 201, body
                    created.append(body)
                    if len(created) > 100:
                        enough.set()

        with ThreadPoolExecutor(CROWD) as threads:
            running = [threads.submit(create_until_closed, number) for number in range(CROWD)]
            assert enough.wait(30)
            assert server.stop(signal.SIGTERM) == 0
            for one in running:
                one.result()
        titles = [task["title"] for task in sorted(created, key=lambda task: task["id"])]
        assert committed(server) == titles


def log_in(server):
    client = Client(server.port)
    client.log_in(ADA["username"], PASSWORD)
    return client


def reconnect(client):
    """Replace the connection."""
    client.connection.close()
    client.connection = Client(client.connection.port).connection


def committed(server):
    """Return the stored titles by id; the server may have stopped."""
    engine = create_engine(database_url(server.database_url))
    with engine.connect() as connection:
        titles = connection.scalars(select(Task.title).order_by(Task.id)).all()
    engine.dispose()
    return titles


def listed(client):
    """Return every task by id."""
    tasks, cursor = [], ""
    while cursor is not None:
        status, page = client.call("GET", f"/tasks?sort=created_at&limit=200{cursor}")
        assert status == 200, page
        tasks += page["data"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return sorted(tasks, key=lambda task: task["id"])


def send_partially(client, body):
    """Send a create request without the end of its body; return the connection and the rest."""
    raw = json.dumps(body).encode()
    head = (
        f"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: {client.headers['Authorization']}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", client.connection.port), timeout=30)
    connection.sendall(head.encode() + raw[:5])
    return connection, raw[5:]


def read_response(connection):
    """Return the status line with the headers, and the body."""
    response = b""
    with connection:
        while b"}" not in response and (more := connection.recv(65536)):
            response += more
    head, _, body = response.decode().partition("\r\n\r\n")
    return head, body


CALLS = [
    ("GET", "/tasks", None),
    ("POST", "/tasks", {"title": "Buy milk"}),
    ("GET", "/auth/me", None),
    ("POST", "/auth/login", {"username": "alice", "password": "x"}),
]


def stall(kind):
    """Run a slow statement, or leave a transaction idle."""
    if kind == "statement":
        db.session.execute(text("SELECT pg_sleep(30)"))
    else:
        row = TaskRow(created_by=db.session.scalar(text("SELECT min(id) FROM users")))
        db.session.execute(insert(Task).values(row))
        time.sleep(TIMEOUT + 0.5)
        db.session.execute(text("SELECT 1"))
    db.session.commit()
    return "done"


@pytest.fixture(scope="module")
def postgresql():
    with cluster.cluster() as running:
        yield running


@pytest.fixture(scope="module")
def served(postgresql, settings):
    """A user of an application whose database the tests stop."""
    # As in a server: no more parallel requests than threads, and a connection for each.
    overrides = {"DATABASE_URL": postgresql.url, "DB_TIMEOUT": TIMEOUT, "THREADS": CROWD}
    app = create_app(settings | overrides)
    app.add_url_rule("/stall/<kind>", view_func=stall)
    with app.app_context():
        upgrade(directory=str(ROOT / "migrations"))
    yield Accounts(app).make("alice")
    with app.app_context():
        db.engine.dispose()


def call_in_parallel(account):
    """Return the responses to parallel calls, each with its own database connection."""

    def send(number):
        method, path, body = CALLS[number % len(CALLS)]
        client = account.client.application.test_client()
        token = {"Authorization": f"Bearer {account.access_token}"}
        headers = {} if path == "/auth/login" else token
        return client.open(f"/api/v1{path}", method=method, json=body, headers=headers)

    with ThreadPoolExecutor(CROWD) as threads:
        return list(threads.map(send, range(CROWD)))


def assert_served(account):
    for _ in range(3):
        statuses = [response.status_code for response in call_in_parallel(account)]
        assert statuses == [200, 201, 200, 401] * (CROWD // len(CALLS))


def assert_unavailable(responses):
    for response in responses:
        assert_problem(response, 503, "unavailable")
        assert int(response.headers["Retry-After"]) >= 1


def assert_live(account):
    start = time.monotonic()
    assert account.client.get("/health/live").status_code == 200
    assert time.monotonic() - start < 1


@pytest.mark.skipif(not POSTGRES, reason="needs PostgreSQL")
@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="PostgreSQL is not installed"
)
class TestPostgreSQL:
    """A PostgreSQL that is down, frozen or slow."""

    def test_f2_503_while_postgresql_is_down_and_no_error_afterwards(self, postgresql, served):
        assert_served(served)
        postgresql.stop()
        try:
            for _ in range(3):
                assert_unavailable(call_in_parallel(served))
            assert_live(served)
        finally:
            postgresql.start()
        assert_served(served)

    def test_f2_postgresql_restart_fails_no_request(self, postgresql, served):
        assert_served(served)
        postgresql.stop()
        postgresql.start()
        assert_served(served)

    def test_f3_503_within_the_timeout_while_postgresql_is_frozen(self, postgresql, served):
        assert_served(served)
        tasks = served.get("/tasks").json
        with postgresql.frozen():
            for _ in range(2):
                start = time.monotonic()
                assert_unavailable(call_in_parallel(served))
                assert time.monotonic() - start < 2 * TIMEOUT + 1
            assert_live(served)
        assert served.get("/tasks").json == tasks
        assert_served(served)

    @pytest.mark.parametrize("kind", ["statement", "transaction"])
    def test_f3_slow_statements_and_idle_transactions_time_out(self, served, kind):
        count = select(func.count(Task.id))
        with served.client.application.app_context():
            before = db.session.scalar(count)
        start = time.monotonic()
        assert_unavailable([served.client.get(f"/stall/{kind}")])
        assert time.monotonic() - start < TIMEOUT + 1
        with served.client.application.app_context():
            assert db.session.scalar(count) == before
            running = text("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle'")
            assert db.session.scalar(running) == 1  # this query
        assert_served(served)

    def test_f3_late_result_is_not_read_by_another_statement(self, postgresql, served):
        with served.client.application.app_context():
            assert db.session.scalar(select(func.abs(-1))) == 1
            with postgresql.frozen(), pytest.raises(Exception, match="timeout"):
                db.session.scalar(select(func.abs(-2)))
            db.session.rollback()
            assert db.session.scalar(select(func.abs(-3))) == 3

    def test_f3_migrations_have_no_timeout(self, served):
        with served.client.application.app_context(), db.engine.connect() as connection:
            disable_timeouts(connection)
            connection.execute(text(f"SELECT pg_sleep({TIMEOUT + 0.5})"))
        assert_served(served)
