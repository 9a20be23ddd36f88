"""The worker, one connection at a time; tests/security/test_edges.py has the started server."""

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from app import server
from app.server import Answer, Worker


@pytest.fixture
def worker(app):
    config = Config()
    served = SimpleNamespace(wsgi=lambda: app)
    made = Worker(0, 0, [], served, 30, config, Logger(config))
    made.load_wsgi()
    yield made
    made.tmp.close()


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
    client, accepted = socket.socketpair()
    connection = TConn(worker.cfg, accepted, ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.alive = True
    asked = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with ThreadPoolExecutor(1) as threads:
        handled = threads.submit(worker.handle, connection)
        for _ in range(3):
            client.sendall(asked)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        client.shutdown(socket.SHUT_WR)
        assert handled.result(5) is False
    client.close()


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
