"""Stops and restarts of the API processes."""

import os
import signal
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from benchmarks import rolling_restart
from benchmarks.server import Client, started
from tests.deploy.gateway import deployed, needs_nginx
from tests.waiting import wait_for

ACCOUNT = {"username": "ada", "password": "correct horse battery"}


@pytest.fixture
def server():
    with started(os.environ.get("TEST_DATABASE_URL"), WEB_CONCURRENCY="2") as running:
        yield running


@contextmanager
def blocked_writes(url):
    """Let writes of tasks wait."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("BEGIN IMMEDIATE")
    else:
        connection = psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:"))
        connection.execute("LOCK TABLE tasks IN SHARE MODE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def is_refused(port):
    """Return whether a new connection is refused."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return False
    except ConnectionRefusedError:
        return True


def test_stopping_server_refuses_connections_at_once_and_finishes_its_requests(server):
    with Client(server.port) as client, ThreadPoolExecutor(1) as pool:
        client.call("POST", "/auth/register", ACCOUNT | {"email": "ada@example.com"})
        client.log_in(**ACCOUNT)
        with blocked_writes(server.database_url):
            waiting = pool.submit(client.call, "POST", "/tasks", {"title": "a"})
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_refused(server.port), 1)
            time.sleep(0.5)
            # A worker may get the signal again, for example with its process group.
            for worker in server.workers():
                os.kill(worker, signal.SIGTERM)
            time.sleep(0.5)
            assert not waiting.done()
            assert server.process.poll() is None
        status, task = waiting.result(timeout=20)
        assert (status, task["title"]) == (201, "a")
    assert server.process.wait(timeout=30) == 0


def test_connections_that_wait_at_a_stopping_server_are_served(server):
    """They are accepted by the kernel, and not by the server yet."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(20))
        client = stack.enter_context(Client(server.port))
        client.call("POST", "/auth/register", ACCOUNT | {"email": "ada@example.com"})
        client.log_in(**ACCOUNT)
        for worker in server.workers():
            os.kill(worker, signal.SIGSTOP)
        waiting = []
        for _ in range(20):
            connection = stack.enter_context(Client(server.port))
            connection.headers = client.headers
            connection.connection.connect()
            waiting.append(pool.submit(connection.call, "POST", "/tasks", {"title": "a"}))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        for worker in server.workers():
            os.kill(worker, signal.SIGCONT)
        assert [future.result(timeout=20)[0] for future in waiting] == [201] * 20
    assert server.process.wait(timeout=30) == 0


@needs_nginx
def test_no_client_sees_a_rolling_restart():
    with deployed() as deployment:
        outcomes, tasks = rolling_restart.run(deployment, restarts=4)
    assert outcomes.keys() == {"201"}
    assert outcomes["201"] == tasks
    assert tasks > 100
