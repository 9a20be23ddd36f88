"""E1: behind nginx, slow clients do not delay others."""

import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest

from tests.deploy.gateway import NAME, HTTPSConnectionTo, deployed, needs_nginx, send
from tests.waiting import wait_for

pytestmark = needs_nginx

CLIENTS = 200
SLOW = "slow client"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def gateway():
    # The default number of threads.
    with deployed(THREADS="4") as running:
        yield running.gateway


@pytest.fixture
def login(gateway):
    """Credentials and token of a new user, whose list is larger than the socket buffers."""
    name = f"ada-{uuid4().hex[:8]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    assert gateway.call("POST", "/api/v1/auth/register", account).status == 201
    login = {"username": name, "password": PASSWORD}
    token = gateway.call("POST", "/api/v1/auth/login", login).json["access_token"]
    for number in range(20):
        task = {"title": f"Task {number}", "description": "x" * 20000}
        headers = {"Authorization": f"Bearer {token}"}
        assert gateway.call("POST", "/api/v1/tasks", task, headers).status == 201
    return login | {"token": token}


def connect(gateway):
    """Connect with a small receive buffer."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
    raw.settimeout(20)
    raw.connect(("127.0.0.1", gateway.port))
    return gateway.context.wrap_socket(raw, server_hostname=NAME)


@contextmanager
def slow_clients(gateway, token):
    """Open connections that never read, or send a header or a body at a byte per second."""
    authorized = f"Host: {NAME}\r\nUser-Agent: {SLOW}\r\nAuthorization: Bearer {token}\r\n"
    body = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    starts = {
        "reader": f"GET /api/v1/tasks?limit=200 HTTP/1.1\r\n{authorized}\r\n",
        "body": f"POST /api/v1/tasks HTTP/1.1\r\n{authorized}{body}",
        "header": f"GET /api/v1/tasks HTTP/1.1\r\n{authorized}X-Slow: ",
    }
    done = threading.Event()

    def dribble(connections):
        while not done.wait(1):
            for connection in connections:
                connection.sendall(b"x")

    with ExitStack() as stack:
        senders = []
        for client_type, start in starts.items():
            for _ in range(CLIENTS):
                connection = stack.enter_context(connect(gateway))
                connection.sendall(start.encode())
                if client_type != "reader":
                    senders.append(connection)
        thread = threading.Thread(target=dribble, args=[senders])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def test_e1_normal_client_is_served_within_a_second(gateway, login):
    with slow_clients(gateway, login.pop("token")):
        start = time.monotonic()
        with HTTPSConnectionTo(gateway) as client:
            tokens = send(client, "POST", "/api/v1/auth/login", login)
            bearer = {"Authorization": f"Bearer {tokens.json['access_token']}"}
            created = send(client, "POST", "/api/v1/tasks", {"title": "Buy milk"}, bearer)
            listed = send(client, "GET", "/api/v1/tasks?limit=1", headers=bearer)
        elapsed = time.monotonic() - start
        # nginx logs completed requests: those of slow clients are still open.
        assert [line for line in gateway.log() if line["user_agent"] == SLOW] == []
    assert (tokens.status, created.status, listed.status) == (200, 201, 200)
    assert listed.json["data"][0]["title"] == "Buy milk"
    assert elapsed < 1
    wait_for(lambda: sum(line["user_agent"] == SLOW for line in gateway.log()) == 3 * CLIENTS, 20)


def test_e1_incomplete_header_is_cut_off_after_10_seconds(gateway):
    with gateway.connect() as connection:
        connection.settimeout(0.5)
        start = time.monotonic()
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        while time.monotonic() - start < 20:
            try:
                assert connection.recv(1000) == b""
                break
            except TimeoutError:
                connection.sendall(b"x")
        assert 9 < time.monotonic() - start < 13
