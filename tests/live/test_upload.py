"""Long files on a connection: taken up to their limit, by a process that does not grow by them."""

import json
import os
import re
import socket
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from app.config import Config
from benchmarks.server import Client, started

POSTGRES = os.environ.get("TEST_DATABASE_URL")
ACCOUNT = {"username": "ada", "password": "correct horse battery"}
MIB = 2**20


@pytest.fixture(scope="module")
def server():
    with started(POSTGRES, WEB_CONCURRENCY="1") as running:
        with Client(running.port) as client:
            client.call("POST", "/auth/register", ACCOUNT | {"email": "ada@example.com"})
            client.log_in(**ACCOUNT)
            running.token = client.headers["Authorization"]
        yield running


@contextmanager
def most_memory(server):
    """Note what the worker has meanwhile; what it maps of a database file does not count."""
    [worker] = server.workers()
    status, seen, over = Path(f"/proc/{worker}/status"), [], Event()

    def look():
        while not over.wait(0.01):
            [told] = re.findall(r"RssAnon:\s+(\d+) kB", status.read_text())
            seen.append(int(told) * 1024)

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def upload(server, size, *, chunked, path="/api/v1/imports"):
    """Send a file of so many bytes, and return the status and the body of the answer."""
    told = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.token}\r\n"
        f"Content-Type: text/csv\r\n{told}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode())
        left = size
        while left:
            block = min(left, MIB)
            line = b"x" * (block - 1) + b"\n"
            connection.sendall(b"%x\r\n%b\r\n" % (block, line) if chunked else line)
            left -= block
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        answer = b""
        while more := connection.recv(65536):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_file_as_long_as_may_be_is_taken_with_flat_memory(server):
    with most_memory(server) as before:
        for chunked in (False, True) * 2:
            upload(server, 2 * MIB, chunked=chunked)
    with most_memory(server) as after:
        for chunked in (False, True):
            status, job = upload(server, Config.MAX_UPLOAD_LENGTH, chunked=chunked)
            assert (status, job["kind"]) == (202, "import")
    assert max(after) - max(before) < 24 * MIB


def test_a_longer_file_is_refused_whether_or_not_its_length_is_told(server):
    longer = Config.MAX_UPLOAD_LENGTH + 1
    for chunked in (False, True):
        status, problem = upload(server, longer, chunked=chunked)
        assert (status, problem["code"]) == (413, "payload_too_large")


def test_only_files_may_be_so_long(server):
    for path in ("/api/v1/tasks", "/api/v1/exports", "/api/v1/jobs", "/api/v1/imports/1"):
        status, problem = upload(server, 3 * MIB, chunked=True, path=path)
        assert (status, problem["status"]) in {(n, n) for n in (404, 405, 413, 415)}
