"""The worker, one connection at a time; tests/security/test_edges.py has the started server."""

import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from app import server
from app.floor import NOBODY, floor
from app.server import Answer, Worker

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def worker(app):
    config = Config()
    config.set("threads", 4)
    served = SimpleNamespace(wsgi=lambda: app)
    made = Worker(0, 0, [], served, 30, config, Logger(config))
    made.load_wsgi()
    yield made
    made.tmp.close()


@contextmanager
def handled(worker):
    """Connect a client, whose requests are answered by a thread of its own until it hangs up."""
    client, accepted = socket.socketpair()
    client.settimeout(5)
    connection = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.alive = True
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(worker.handle, connection)
        with client:
            yield client
        assert done.result(5) is False


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ],
)
def test_a_connection_that_ends_is_given_back_once(worker, sent):
    client, accepted = socket.socketpair()
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    connection = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.nr_conns = 1
    done = Future()
    done.set_result(worker.handle(connection))
    worker.finish_request(connection, done)
    assert worker.nr_conns == 0
    assert accepted.fileno() == -1
    client.close()


def test_the_next_request_is_answered_by_the_thread_that_answered_the_last(worker):
    with handled(worker) as client:
        for _ in range(3):
            client.sendall(PING)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_requests_that_come_at_once_are_answered_one_after_another(worker):
    client, accepted = socket.socketpair()
    connection = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("127.0.0.1", 2))
    client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    client.shutdown(socket.SHUT_WR)
    assert worker.handle(connection) is False
    told = b""
    while block := client.recv(65536):
        told += block
    assert told.count(b"HTTP/1.1 200 OK\r\n") == 3
    client.close()


def test_a_body_that_is_too_long_is_refused_before_it_has_come_and_the_connection_goes_on(worker):
    size = 3 * 1024 * 1024
    said = "Content-Type: application/json\r\nAuthorization: Bearer x"
    with handled(worker) as client:
        head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n{said}\r\nContent-Length: {size}"
        client.sendall(f"{head}\r\n\r\n{{".encode())
        refused = client.recv(65536)
        assert refused.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"payload_too_large"' in refused
        client.sendall(b" " * (size - 1))
        client.sendall(PING)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def take_in(client, count=1):
    """Read that many short answers."""
    told = b""
    while told.count(b"pong") < count:
        told += client.recv(65536)
    assert told.count(b"HTTP/1.1 200 OK\r\n") == count


@pytest.fixture
def patient(monkeypatch):
    """Nobody takes the floor away, and in the end it is nobody's."""
    monkeypatch.setattr("app.floor.PATIENCE", 60)
    yield
    assert floor._holder == NOBODY
    assert not floor._line


def test_requests_are_answered_one_at_a_time(worker, patient):
    inside, most = [], []

    def answer(_environ, start_response):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.0005)
        inside.pop()
        start_response("200 OK", [("Content-Length", "4")])
        return [b"pong"]

    worker.application = answer

    def ask(client):
        for _ in range(10):
            client.sendall(PING * 2)
            take_in(client, 2)

    with ExitStack() as stack:
        clients = [stack.enter_context(handled(worker)) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(ask, clients))
    assert len(most) == 80
    assert max(most) == 1


def test_who_waits_for_its_client_keeps_nobody_else_waiting(worker, patient):
    long = b"x" * 8_000_000

    def answer(environ, start_response):
        body = long if environ["PATH_INFO"] == "/long" else b"pong"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    worker.application = answer
    head = b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with handled(worker) as sender, handled(worker) as reader, handled(worker) as other:
        sender.sendall(head + b"{")
        reader.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reader.recv(1) == b"H"
        for _ in range(3):
            other.sendall(PING)
            take_in(other)
        sender.sendall(b"12345678")
        take_in(sender)
        left = len(long)
        while left > 0:
            left -= len(reader.recv(65536))


def test_a_request_that_takes_long_lets_others_be_answered_beside_it(worker):
    came, end = threading.Event(), threading.Event()

    def answer(environ, start_response):
        if environ["PATH_INFO"] == "/long":
            came.set()
            assert end.wait(10)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"pong"]

    worker.application = answer
    with handled(worker) as slow, handled(worker) as other:
        slow.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        assert came.wait(5)
        for _ in range(3):
            other.sendall(PING)
            take_in(other)
        end.set()
        take_in(slow)
    assert floor._holder == NOBODY


def test_a_connection_that_falls_silent_is_handed_back(worker, monkeypatch):
    monkeypatch.setattr(server, "LINGER", 1)
    client, accepted = socket.socketpair()
    connection = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("127.0.0.1", 2))
    client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    assert worker.handle(connection) is True
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    accepted.close()
    client.close()


def test_an_answer_goes_out_in_one_piece_or_a_long_one_in_several():
    client, accepted = socket.socketpair()
    answer = Answer(accepted, patience=5)
    answer.sendall(b"head ")
    answer.sendall(b"body")
    with pytest.raises(BlockingIOError):
        client.recv(9, socket.MSG_DONTWAIT)
    answer.flush()
    assert client.recv(65536) == b"head body"
    long = b"x" * 4_000_000
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(answer.sendall, long)
        taken = 0
        while taken < len(long):
            taken += len(client.recv(65536))
        sent.result(5)
    accepted.close()
    client.close()


def test_whoever_does_not_take_its_answer_is_not_waited_for():
    client, accepted = socket.socketpair()
    with pytest.raises(TimeoutError):
        Answer(accepted, patience=0.05).sendall(b"x" * 4_000_000)
    accepted.close()
    client.close()
