"""The worker, one connection at a time; tests/security/test_edges.py has the started server."""

import socket
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from app.server import Worker


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
