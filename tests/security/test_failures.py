"""F: what the service rests on fails, and clients lose nothing but time."""

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
from app.database import take_time
from app.extensions import db
from app.tasks.models import Task
from benchmarks.server import Client, started
from tests.accounts import PASSWORD, Accounts
from tests.conftest import ROOT
from tests.factories import TaskRow
from tests.problems import assert_problem
from tests.security import cluster

POSTGRES = os.environ.get("TEST_DATABASE_URL")
PATIENCE = 2
CROWD = 8
ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}


class TestServer:
    """The started server, killed and asked to stop."""

    @pytest.fixture
    def server(self):
        with started(POSTGRES) as running, Client(running.port) as client:
            assert client.call("POST", "/auth/register", ADA)[0] == 201
            yield running

    def test_f1_every_task_answered_201_survives_a_kill_of_the_server_once(self):
        options = ["--creates", "1000", *(["--database", POSTGRES] if POSTGRES else [])]
        ran = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "crash.py", *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        report = json.loads(ran.stdout)
        assert 0 < report["answered 201"] < 1000
        assert report["stored"] >= report["answered 201"]
        assert (report["lost"], report["doubled"]) == (0, 0)

    def test_f1_a_worker_killed_during_200_creates_loses_none_and_leaves_none_half_done(
        self, server
    ):
        told = {}
        with log_in(server) as client:
            token = client.headers

        def create_some(first):
            with Client(server.port) as client:
                client.headers = dict(token)
                for number in range(first, 200, CROWD):
                    client.headers["Idempotency-Key"] = f"create-{number}"
                    while number not in told:
                        create(client, number)

        def create(client, number):
            try:
                status, body = client.call("POST", "/tasks", {"title": f"Task {number}"})
            except (OSError, HTTPException):
                renew(client)
                return
            if status == 201:
                told[number] = body
            else:  # the killed worker's request may still hold the key
                assert (status, body["code"]) == (409, "idempotency_in_progress")
                time.sleep(0.1)

        with ThreadPoolExecutor(CROWD) as threads:
            running = [threads.submit(create_some, first) for first in range(CROWD)]
            for enough in (40, 120):
                while len(told) < enough:
                    time.sleep(0.005)
                os.kill(server.workers()[0], signal.SIGKILL)
            for one in running:
                one.result()
        with log_in(server) as client:
            assert listed(client) == sorted(told.values(), key=lambda task: task["id"])
        assert len(told) == 200

    def test_f5_what_is_in_flight_when_sigterm_comes_is_answered(self, server):
        bodies = [{"title": f"Task {number}"} for number in range(CROWD)]
        with log_in(server) as client:
            unfinished = [half_sent(client, body) for body in bodies]
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        titles = []
        for connection, rest in unfinished:
            connection.sendall(rest)
            status, body = answer_of(connection)
            assert " 201 " in status
            titles.append(json.loads(body)["title"])
        assert server.process.wait(timeout=30) == 0
        assert committed(server) == titles

    def test_f5_under_load_what_has_an_effect_has_an_answer(self, server):
        enough, told = Event(), []
        ready = Barrier(CROWD)

        def create_until_it_ends(number):
            with log_in(server) as client:
                ready.wait(30)
                for turn in range(100_000):
                    if number % 2:
                        renew(client)
                    try:
                        status, body = client.call("POST", "/tasks", {"title": f"{number}.{turn}"})
                    except (OSError, HTTPException):
                        return
                    assert status == 201, body
                    told.append(body)
                    if len(told) > 100:
                        enough.set()

        with ThreadPoolExecutor(CROWD) as threads:
            running = [threads.submit(create_until_it_ends, number) for number in range(CROWD)]
            assert enough.wait(30)
            assert server.stop(signal.SIGTERM) == 0
            for one in running:
                one.result()
        titles = [task["title"] for task in sorted(told, key=lambda task: task["id"])]
        assert committed(server) == titles


def log_in(server):
    client = Client(server.port)
    client.log_in(ADA["username"], PASSWORD)
    return client


def renew(client):
    """Go on with a new connection."""
    client.connection.close()
    client.connection = Client(client.connection.port).connection


def committed(server):
    """The titles that the database holds, in the order of their ids, even where none serves it."""
    engine = create_engine(database_url(server.database_url))
    with engine.connect() as connection:
        titles = connection.scalars(select(Task.title).order_by(Task.id)).all()
    engine.dispose()
    return titles


def listed(client):
    """Every task, in the order of their ids."""
    tasks, cursor = [], ""
    while cursor is not None:
        status, page = client.call("GET", f"/tasks?sort=created_at&limit=200{cursor}")
        assert status == 200, page
        tasks += page["data"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return sorted(tasks, key=lambda task: task["id"])


def half_sent(client, body):
    """Send a creation but for the end of its body, and return the connection and that end."""
    raw = json.dumps(body).encode()
    head = (
        f"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: {client.headers['Authorization']}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", client.connection.port), timeout=30)
    connection.sendall(head.encode() + raw[:5])
    return connection, raw[5:]


def answer_of(connection):
    """Return the status line with the headers, and the body."""
    answer = b""
    with connection:
        while b"}" not in answer and (more := connection.recv(65536)):
            answer += more
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


CALLS = [
    ("GET", "/tasks", None),
    ("POST", "/tasks", {"title": "Buy milk"}),
    ("GET", "/auth/me", None),
    ("POST", "/auth/login", {"username": "alice", "password": "x"}),
]


def stall(kind):
    """Keep the database waiting, in one way or another."""
    if kind == "statement":
        db.session.execute(text("SELECT pg_sleep(30)"))
    else:
        row = TaskRow(created_by=db.session.scalar(text("SELECT min(id) FROM users")))
        db.session.execute(insert(Task).values(row))
        time.sleep(PATIENCE + 0.5)
        db.session.execute(text("SELECT 1"))
    db.session.commit()
    return "done"


@pytest.fixture(scope="module")
def postgresql():
    with cluster.cluster() as running:
        yield running


@pytest.fixture(scope="module")
def served(postgresql, settings):
    """An account of an application whose database is ours to stop."""
    app = create_app(settings | {"DATABASE_URL": postgresql.url, "DB_TIMEOUT": PATIENCE})
    app.add_url_rule("/stall/<kind>", view_func=stall)
    with app.app_context():
        upgrade(directory=str(ROOT / "migrations"))
    yield Accounts(app).make("alice")
    with app.app_context():
        db.engine.dispose()


def crowd(account):
    """The answers to many calls at once, each on a connection of its own to the database."""

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
        statuses = [answer.status_code for answer in crowd(account)]
        assert statuses == [200, 201, 200, 401] * (CROWD // len(CALLS))


def assert_unavailable(answers):
    for answer in answers:
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1


def assert_lives(account):
    start = time.monotonic()
    assert account.client.get("/health/live").status_code == 200
    assert time.monotonic() - start < 1


@pytest.mark.skipif(not POSTGRES, reason="about PostgreSQL")
@pytest.mark.skipif(
    not cluster.binaries() and "NO_SKIPS" not in os.environ, reason="needs PostgreSQL's programs"
)
class TestPostgreSQL:
    """A PostgreSQL that is down, frozen or slow."""

    def test_f2_with_postgresql_down_the_answer_is_503_and_after_its_return_none(
        self, postgresql, served
    ):
        assert_served(served)
        postgresql.stop()
        try:
            for _ in range(3):
                assert_unavailable(crowd(served))
            assert_lives(served)
        finally:
            postgresql.start()
        assert_served(served)

    def test_f2_a_restart_of_postgresql_that_went_unnoticed_fails_no_request(
        self, postgresql, served
    ):
        assert_served(served)
        postgresql.stop()
        postgresql.start()
        assert_served(served)

    def test_f3_with_postgresql_frozen_the_answer_comes_in_twice_the_timeout(
        self, postgresql, served
    ):
        assert_served(served)
        kept = served.get("/tasks").json
        with postgresql.frozen():
            for _ in range(2):
                start = time.monotonic()
                assert_unavailable(crowd(served))
                assert time.monotonic() - start < 2 * PATIENCE + 1
            assert_lives(served)
        assert served.get("/tasks").json == kept
        assert_served(served)

    @pytest.mark.parametrize("kind", ["statement", "transaction"])
    def test_f3_what_keeps_the_database_waiting_for_too_long_is_ended(self, served, kind):
        count = select(func.count(Task.id))
        with served.client.application.app_context():
            before = db.session.scalar(count)
        start = time.monotonic()
        assert_unavailable([served.client.get(f"/stall/{kind}")])
        assert time.monotonic() - start < PATIENCE + 1
        with served.client.application.app_context():
            assert db.session.scalar(count) == before
            running = text("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle'")
            assert db.session.scalar(running) == 1  # this one
        assert_served(served)

    def test_f3_a_late_answer_is_nobodys(self, postgresql, served):
        with served.client.application.app_context():
            assert db.session.scalar(select(func.abs(-1))) == 1
            with postgresql.frozen(), pytest.raises(Exception, match="timeout"):
                db.session.scalar(select(func.abs(-2)))
            db.session.rollback()
            assert db.session.scalar(select(func.abs(-3))) == 3

    def test_f3_a_migration_takes_the_time_that_it_needs(self, served):
        with served.client.application.app_context(), db.engine.connect() as connection:
            take_time(connection)
            connection.execute(text(f"SELECT pg_sleep({PATIENCE + 0.5})"))
        assert_served(served)
