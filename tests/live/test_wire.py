"""What only bytes on a connection can show."""

import os
import socket

import pytest

from benchmarks.server import Client, started

POSTGRES = os.environ.get("TEST_DATABASE_URL")
PATH = "/api/v1/auth/login"


@pytest.fixture(scope="module")
def server():
    with started(POSTGRES) as running:
        yield running


def send(server, raw):
    """Send bytes and return the status line and the body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while b"}" not in answer and (more := connection.recv(65536)):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [
        ("POST", "/auth/login", 1024 * 1024 + 1, 413),
        ("POST", "/tasks", 8 * 1024 * 1024, 401),
        ("POST", "/nothing", 1024 * 1024, 404),
        ("GET", "/auth/me", 1024 * 1024, 401),
    ],
)
def test_a_connection_goes_on_after_a_body_that_was_refused(server, method, path, size, status):
    with Client(server.port) as client:
        for _ in range(2):
            found, body = client.call(method, path, "x" * size)
            assert (found, body["status"]) == (status, status)


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n"]
)
def test_chunks_that_are_none_are_a_bad_request(server, chunks):
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    status, body = send(server, head.encode() + chunks)
    assert " 400 " in status
    assert '"code":"bad_request"' in body


@pytest.mark.parametrize("host", ["", "Host: a b\r\n", "Host: <>\r\n"])
def test_a_request_without_a_host_is_a_bad_request(server, host):
    status, body = send(server, f"GET /api/v1/auth/me HTTP/1.1\r\n{host}\r\n".encode())
    assert " 400 " in status
    assert '"code":"bad_request"' in body


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /foo", "X-Forwarded-Proto: https"])
def test_a_header_that_only_a_proxy_may_send_changes_nothing(server, header):
    raw = f"GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"
    head, body = send(server, raw.encode())
    assert " 401 " in head
    assert "Strict-Transport-Security" not in head
    assert '"code":"authentication_required"' in body
