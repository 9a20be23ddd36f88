"""Uploads of large files to a running server."""

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
def sample_memory(server):
    """Sample the memory of the worker, without memory-mapped files of the database."""
    [worker] = server.workers()
    status, samples, stop = Path(f"/proc/{worker}/status"), [], Event()

    def sample():
        while not stop.wait(0.01):
            [kilobytes] = re.findall(r"RssAnon:\s+(\d+) kB", status.read_text())
            samples.append(int(kilobytes) * 1024)

    thread = Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def upload(server, size, *, chunked, path="/api/v1/imports"):
    """Send a file of ``size`` bytes; return the status and the body of the response."""
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {server.token}\r\n"
        f"Content-Type: text/csv\r\n{length}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode())
        remaining = size
        while remaining:
            block = min(remaining, MIB)
            line = b"x" * (block - 1) + b"\n"
            connection.sendall(b"%x\r\n%b\r\n" % (block, line) if chunked else line)
            remaining -= block
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        response = b""
        while data := connection.recv(65536):
            response += data
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_largest_file_is_accepted_with_flat_memory(server):
    with sample_memory(server) as before:
        for chunked in (False, True) * 2:
            upload(server, 2 * MIB, chunked=chunked)
    with sample_memory(server) as after:
        for chunked in (False, True):
            status, job = upload(server, Config.MAX_UPLOAD_LENGTH, chunked=chunked)
            assert (status, job["kind"]) == (202, "import")
    assert max(after) - max(before) < 24 * MIB


def test_larger_file_is_rejected_with_and_without_content_length(server):
    size = Config.MAX_UPLOAD_LENGTH + 1
    for chunked in (False, True):
        status, problem = upload(server, size, chunked=chunked)
        assert (status, problem["code"]) == (413, "payload_too_large")


def test_other_paths_keep_their_limit(server):
    for path in ("/api/v1/tasks", "/api/v1/exports", "/api/v1/jobs", "/api/v1/imports/1"):
        status, problem = upload(server, 3 * MIB, chunked=True, path=path)
        assert (status, problem["status"]) in {(code, code) for code in (404, 405, 413, 415)}
