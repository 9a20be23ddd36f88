"""Malformed HTTP requests, sent over a socket."""

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
    """Send bytes; return the head and the body of the response."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        response = b""
        while b"}" not in response and (data := connection.recv(65536)):
            response += data
    head, _, body = response.partition(b"\r\n\r\n")
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
def test_connection_stays_open_after_a_rejected_body(server, method, path, size, status):
    with Client(server.port) as client:
        for _ in range(2):
            response_status, body = client.call(method, path, "x" * size)
            assert (response_status, body["status"]) == (status, status)


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n"]
)
def test_invalid_chunks_are_a_bad_request(server, chunks):
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    status, body = send(server, head.encode() + chunks)
    assert " 400 " in status
    assert '"code":"bad_request"' in body


@pytest.mark.parametrize("host", ["", "Host: a b\r\n", "Host: <>\r\n"])
def test_missing_or_invalid_host_is_a_bad_request(server, host):
    status, body = send(server, f"GET /api/v1/auth/me HTTP/1.1\r\n{host}\r\n".encode())
    assert " 400 " in status
    assert '"code":"bad_request"' in body


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /foo", "X-Forwarded-Proto: https"])
def test_proxy_headers_are_ignored(server, header):
    raw = f"GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"
    head, body = send(server, raw.encode())
    assert " 401 " in head
    assert "Strict-Transport-Security" not in head
    assert '"code":"authentication_required"' in body
